"""The MLflow database of a run is whole or not there, and never what a run ends by."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ignite.engine import Engine
from mlflow import MlflowClient

from hmgdm_monai.data.files.whole_file import is_temporary
from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers import tracking_database
from hmgdm_monai.handlers.run_tracking import RunTracking
from hmgdm_monai.handlers.tracking_database import DATABASE, tracking_uri


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as :func:`tracking_uri` makes it."""
    folder = tmp_path_factory.mktemp("whole")
    assert tracking_uri(folder) == f"sqlite:///{folder / DATABASE}"
    assert [one.name for one in folder.iterdir()] == [DATABASE]
    return folder / DATABASE


def unfinished(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        database.commit()


def between_steps(path: Path) -> None:
    """As MLflow leaves it when it is killed between two of its steps: tables, and the version of an early one."""
    unfinished(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
        database.commit()


def empty(path: Path) -> None:
    path.touch()


def no_database(path: Path) -> None:
    path.write_text("no database\n" * 1000)


@pytest.mark.parametrize("damage", [unfinished, between_steps, empty, no_database])
def test_a_damaged_database_is_kept_aside_and_a_new_one_made(
    damage: Callable[[Path], None],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(tmp_path / DATABASE)
    found = (tmp_path / DATABASE).read_bytes()
    monkeypatch.setattr(tracking_database, "_make", lambda path: shutil.copy(whole, path))  # seconds each
    uri = tracking_uri(tmp_path)
    assert MlflowClient(uri).search_experiments()[0].name == "Default"
    aside = tmp_path / f"{DATABASE}-damaged-1"
    assert f"kept as {aside.name}, a new one is made" in caplog.text and len(aside.read_bytes()) >= len(found)


def test_a_database_that_stands_is_left_with_what_it_holds(whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole, tmp_path)
    MlflowClient(tracking_uri(tmp_path)).create_experiment("kept")
    assert MlflowClient(tracking_uri(tmp_path)).get_experiment_by_name("kept") is not None


def test_a_process_that_is_killed_while_it_makes_one_leaves_none(tmp_path: Path) -> None:
    program = "import sys; from hmgdm_monai.handlers.tracking_database import tracking_uri; tracking_uri(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not any(one.stat().st_size for one in tmp_path.iterdir()):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    left = list(tmp_path.iterdir())
    assert left and all(is_temporary(one) for one in left)


def test_one_that_another_process_has_made_meanwhile_is_taken(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(path: Path) -> None:
        path.write_text("ours, too late")
        shutil.copy(whole, tmp_path / DATABASE)

    monkeypatch.setattr(tracking_database, "_open", both)
    tracking_uri(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == whole.read_bytes()
    assert [one.name for one in tmp_path.iterdir()] == [DATABASE]


@pytest.mark.parametrize("name", ["a b", "60%", "a#b", "\u00e4", "a&b=c"])
def test_a_folder_may_be_called_so(name: str, whole: Path, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    shutil.copy(whole, tmp_path / name)
    MlflowClient(tracking_uri(tmp_path / name)).create_experiment("here")
    with closing(sqlite3.connect(tmp_path / name / DATABASE)) as database:
        assert ("here",) in database.execute("SELECT name FROM experiments").fetchall()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a?b", "a%20b"])
def test_a_name_that_mlflow_mistakes_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="MLflow does not take .* in a path") as caught:
        tracking_uri(tmp_path / name)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def trained(tracking: RunTracking) -> int:
    """Epochs that a training of three does beside the tracking."""
    engine = Engine(lambda _, batch: [{"loss": 1.0}])
    tracking.attach(engine)
    return engine.run([0], max_epochs=3).epoch


def test_a_disk_that_is_full_as_the_database_is_made_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path) -> None:
        path.write_text("begun")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(tracking_database, "_open", full)
    assert trained(RunTracking(tmp_path, "experiment")) == 3
    assert "MLflow" in caplog.text and "database or disk is full" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_mlflow_in_training_is_told_once_and_ends_no_run(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(whole, tmp_path)
    tracking = RunTracking(tmp_path, "experiment", close_on_complete=True)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
        database.execute("DROP TABLE runs")
        database.commit()
    with caplog.at_level(logging.WARNING, "hmgdm_monai"):
        assert trained(tracking) == 3
    assert caplog.text.count("the run goes on") == 1


def test_a_training_is_tracked(whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole, tmp_path)
    assert trained(RunTracking(tmp_path, "experiment", "run", close_on_complete=True)) == 3
    client = MlflowClient(tracking_uri(tmp_path))
    experiment = client.get_experiment_by_name("experiment")
    assert experiment.artifact_location == str(tmp_path / "mlflow_artifacts")
    (run,) = client.search_runs(experiment.experiment_id)
    assert (run.info.run_name, run.info.status, run.data.params["max_epochs"]) == ("run", "FINISHED", "3")
