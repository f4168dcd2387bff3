"""A stored fold is used again only if it is whole and of the same input; what is damaged is logged."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from hmgdm_monai.data.files.checkpoint_file import write_checkpoint
from hmgdm_monai.tasks.fold_file import read_fold_file


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "fold_3.pt", {"weight": torch.zeros(2)})
    (tmp_path / "fold_3.json").write_text(json.dumps({"key": "k", "risk": [1.0]}))
    return tmp_path / "fold_3.json"


def read(path: Path, key: str = "k") -> dict | None:
    return read_fold_file(path, key, path.with_suffix(".pt"), ["risk"])


def test_a_whole_result_is_read(stored: Path) -> None:
    found = read(stored)
    assert found is not None and found["risk"] == [1.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"key": "k", "ri', "cannot be used"),
        ("[]", "cannot be used"),
        ('{"risk": [1.0]}', "cannot be used"),
        ('{"key": "k"}', "lacks risk"),
        ('{"key": "other", "risk": [1.0]}', "have changed"),
    ],
)
def test_other_results_are_not_used_and_it_is_logged(
    text: str, told: str, stored: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stored.write_text(text)
    assert read(stored) is None
    assert told in caplog.text and "fold 3" in caplog.text


def test_a_damaged_model_is_logged_and_a_missing_fold_is_not(stored: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored.with_suffix(".pt").write_bytes(b"damaged")
    assert read(stored) is None and "cannot be used" in caplog.text
    caplog.clear()
    stored.unlink()
    assert read(stored) is None and not caplog.text
