"""An output folder belongs to one set of settings."""

from __future__ import annotations

import json
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
