"""Configs that run as functions: names are checked, errors are ours, and the process stays as it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.bundle_files import bundle_file
from hmgdm_monai.tasks.bundle_workflow import run_bundle

CONFIG = {
    "imports": [
        "$import json",
        "$import torch",
        "$from pathlib import Path",
        "$from hmgdm_monai.data.manifest.manifest import read_manifest",
    ],
    "bundle_root": ".",
    "manifest": "none.csv",
    "output_dir": "runs",
    "rate": 0.5,
    "device": "cpu",
    "deep": {"sizes": [1]},
    "initialize": [
        {"_target_": "hmgdm_monai.tasks.configs.start.start_run", "num_threads": "$torch.get_num_threads() + 1"},
        "$[@manifest, @output_dir, @rate, @deep]",  # all settings are read, whatever a test runs
    ],
    "run": ["$Path(@output_dir, 'seen.json').write_text(json.dumps([@rate, @device, @deep, @bundle_root]))"],
}


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Function that runs a config of the test and gives what it saw."""

    def go(*more: dict[str, Any], **settings: Any) -> Any:
        paths = []
        for number, content in enumerate((CONFIG, *more)):
            paths.append(tmp_path / f"{number}.json")
            paths[-1].write_text(json.dumps(content))
        assert run_bundle(paths, tmp_path / "cohort.csv", tmp_path, settings) == tmp_path
        return json.loads((tmp_path / "seen.json").read_text())

    return go


def test_settings_and_later_configs_reach_the_run(run: Callable, tmp_path: Path) -> None:
    rate, device, deep, root = run({"rate": 0.25}, device=torch.device("cpu"), **{"deep::sizes": (1, 2)})
    assert (rate, device, deep) == (0.25, "cpu", {"sizes": [1, 2]})
    assert (Path(root) / "configs/train.json").is_file()
    assert run(rate=2)[0] == 2


def test_the_process_stays_as_it_was(run: Callable) -> None:
    hook, threads = sys.excepthook, torch.get_num_threads()
    run()
    assert sys.excepthook is hook and torch.get_num_threads() == threads
    with pytest.raises(InputError):
        run({"run": ["$read_manifest(@manifest)"]})
    assert sys.excepthook is hook and torch.get_num_threads() == threads


def test_bad_input_is_ours_and_a_defect_keeps_its_kind(run: Callable) -> None:
    with pytest.raises(InputError, match="cohort.csv: no such manifest"):
        run({"run": ["$read_manifest(@manifest)"]})
    with pytest.raises(RuntimeError) as raised:
        run({"run": ["$1 / 0"]})
    assert not isinstance(raised.value, InputError)


def test_settings_that_nothing_reads_are_refused(run: Callable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"raet: there is no such setting; did you mean rate\?") as raised:
        run(raet=1)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "seen.json").exists()


def test_parts_and_nulls_that_are_not_there_are_refused(run: Callable) -> None:
    with pytest.raises(InputError) as raised:
        run(**{"depe::sizes": [1], "raet::x": 1, "devic": None})
    lines = str(raised.value).split("\n")
    assert lines == [
        "depe#sizes: there is no such setting; did you mean deep?",
        "devic: there is no such setting; did you mean device?",
        "raet#x: there is no such setting; did you mean rate?",
    ]


def test_a_missing_config_says_where_it_was_looked_for(tmp_path: Path) -> None:
    package = Path(run_bundle.__code__.co_filename).parents[2]
    with pytest.raises(InputError) as raised:
        run_bundle("trian.json", "m.csv", tmp_path, {})
    assert f"configs/trian.json: looked for in {package / 'bundle'} and {package}" in str(raised.value)
    with pytest.raises(InputError, match=f"configs/metadata.json: looked for in {tmp_path} "):
        run_bundle("train.json", "m.csv", tmp_path, {"bundle_root": tmp_path})


def test_a_packaged_bundle_holds_its_configs_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/train.json").touch()
    monkeypatch.setattr("hmgdm_monai.saving.bundle_files._BESIDE", tmp_path)
    assert bundle_file("configs/train.json") == tmp_path / "configs/train.json"
