"""Every config holds its output folder before any work, and leaves alone what is not its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from hmgdm_monai.errors import input_error_in
from hmgdm_monai.tasks.run_lock import let_go

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "train": ["train.json"],
    "entities": ["train.json", "train_entities.json"],
    "dirl": ["train.json", "dirl.json"],
    "classify": ["classify.json"],
    "survival": ["survival.json"],
    "patient_classes": ["survival.json", "patient_classes.json"],
    "regress": ["survival.json", "regress.json"],
    "competing_risks": ["survival.json", "competing_risks.json"],
    "evaluate_patients": ["survival.json", "evaluate_patients.json"],
    "inference": ["inference.json"],
    "evaluate": ["evaluate.json"],
}
HOLDER = """
import sys
from pathlib import Path
from hmgdm_monai.tasks.run_lock import hold
lock = hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A folder in which another process works, and the id of that."""
    folder = tmp_path_factory.mktemp("held") / "run"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield folder, process.pid
        process.communicate("end\n")


def refused(name: str, output_dir: Path) -> str:
    """What a config says that must not begin; the manifest does not exist, so that it can't do any work either."""
    files = [str(ROOT / "bundle/configs" / file) for file in CONFIGS[name]]
    given: dict[str, Any] = {"manifest": str(output_dir.parent / "none.csv"), "output_dir": str(output_dir)}
    made = ConfigWorkflow(
        config_file=files,
        workflow_type="train",
        meta_file=str(ROOT / "bundle/configs/metadata.json"),
        logging_file=False,
        device="cpu",
        **given,
    )
    made.initialize()
    with pytest.raises(Exception) as caught:
        made.run()
    message = str(input_error_in(caught.value))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_in_which_another_process_works_is_refused(name: str, held: tuple[Path, int]) -> None:
    folder, pid = held
    assert f"process {pid} on " in refused(name, folder)
    assert [one.name for one in folder.iterdir()] == ["run.lock"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_folder_of_another_program_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "predictions.csv").write_text("theirs")
    assert "holds predictions.csv and no settings.json of ours" in refused(name, tmp_path / "run")
    assert [one.name for one in (tmp_path / "run").iterdir()] == ["predictions.csv"]


def test_a_run_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    assert "none.csv" in refused("inference", tmp_path / "runs" / "mine")
    let_go(tmp_path / "runs" / "mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_line_tells_it_in_one_line_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "monai.bundle",
        "run",
        "--config_file",
        str(ROOT / "bundle/configs/inference.json"),
    ]
    command += ["--output_dir", str(folder), "--manifest", str(tmp_path / "none.csv"), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def said() -> str:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode != 0
        return [line for line in done.stderr.splitlines() if line.startswith("error: ")][-1]

    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        assert f"process {process.pid} on " in said()
        process.kill()
    assert (folder / "run.lock").exists()
    assert "none.csv" in said()  # it has come further
    assert list(folder.iterdir()) == []
