"""An output folder belongs to one set of settings."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.run_folder import RunFolder

SETTINGS = {"data": {"seed": 0, "mpp": 1.0}, "hmgdm": {"network": {"heads": 4, "readout": ["mean"]}}}


def test_claims_checks_and_records(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", SETTINGS, {"max_epochs": 1})
    folder.check()  # nobody's yet
    assert not folder.path.exists()
    folder.claim()
    RunFolder(tmp_path / "run", SETTINGS, {"max_epochs": 9}).claim()  # free settings may change, and are recorded
    assert json.loads((folder.path / "settings.json").read_text()) == {"settings": SETTINGS, "free": {"max_epochs": 9}}


def test_others_are_kept_out_by_name(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS).claim()
    content = (tmp_path / "settings.json").read_bytes()
    other = {**SETTINGS, "hmgdm": {"network": {"heads": 2, "readout": ["mean"]}}}
    for step in (RunFolder(tmp_path, other).check, RunFolder(tmp_path, other).claim):
        with pytest.raises(InputError, match=r"\(hmgdm\.network\.heads 4, not 2\); choose another") as caught:
            step()
        assert "\n" not in str(caught.value)
    assert (tmp_path / "settings.json").read_bytes() == content


def test_tuples_and_lists_are_one(tmp_path: Path) -> None:
    RunFolder(tmp_path, {"readout": ("mean", "std")}).claim()
    RunFolder(tmp_path, {"readout": ["mean", "std"]}).check()


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff\xfe", b'{"settings": 3}'])
def test_a_foreign_settings_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a settings file of ours"):
        RunFolder(tmp_path, SETTINGS).claim()
    assert (tmp_path / "settings.json").read_bytes() == content


def test_files_of_another_program_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("theirs")
    for step in (RunFolder(tmp_path, SETTINGS).check, RunFolder(tmp_path, SETTINGS).claim):
        with pytest.raises(InputError, match=r"holds metrics\.json and no settings\.json of ours; choose") as caught:
            step()
        assert "\n" not in str(caught.value)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("metrics.json", "theirs")]


def test_what_an_ended_run_left_before_its_claim_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("stores/graphs", "mlflow_artifacts", "lost+found"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("mlruns.db", "mlruns.db-journal", "mlruns.db-damaged-1", ".gitkeep", "run.lock"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="holds stores and no"):
        RunFolder(tmp_path, SETTINGS).check()
    RunFolder(tmp_path, SETTINGS, stores=[tmp_path / "stores"]).claim()
    with pytest.raises(InputError, match="holds stores and no"):  # a store around the folder allows nothing in it
        (tmp_path / "settings.json").unlink()
        RunFolder(tmp_path, SETTINGS, stores=[tmp_path]).check()


def test_temporary_files_of_killed_writers_go_and_all_others_stay(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS).claim()
    (tmp_path / "checkpoints").mkdir()
    dead = [tmp_path / ".model.pt.0123456789ab.tmp", tmp_path / "checkpoints" / ".hmgdm.pt.0123456789ab.tmp"]
    dead.append(tmp_path / ".mlruns.db.0123456789ab.tmp-journal")
    theirs, living = tmp_path / ".theirs.tmp", tmp_path / ".model.pt.ba9876543210.tmp"
    for path in (*dead, theirs, living):
        path.touch()
    with open(living, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        RunFolder(tmp_path, SETTINGS).open()
    assert [path for path in dead if path.exists()] == [] and theirs.exists() and living.exists()


@pytest.mark.parametrize("fault", ["a file", "below a file", "too long"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, fault: str) -> None:
    (tmp_path / "file").touch()
    path = {"a file": "file", "below a file": "file/run", "too long": "n" * 300}[fault]
    with pytest.raises(InputError) as caught:
        RunFolder(tmp_path / path, SETTINGS).open()
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *rest: int) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("hmgdm_monai.tasks.run_lock.os.open", refuse)
    with pytest.raises(InputError, match=f"{tmp_path / 'run'}: {os.strerror(number)}; choose another folder"):
        RunFolder(tmp_path / "run", SETTINGS).open()
    assert list(tmp_path.iterdir()) == []


def test_other_ranks_leave_the_lock_to_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hmgdm_monai.tasks.run_folder.is_first_rank", lambda: False)
    RunFolder(tmp_path / "run", SETTINGS).open()
    assert not (tmp_path / "run").exists()
