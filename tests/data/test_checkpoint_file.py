"""Checkpoint files hold plain values, and nothing in them is ever run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from hmgdm_monai.data.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = {"weights": {"a": torch.arange(6.0).view(2, 3)}, "epoch": 3, "history": [{"loss": 0.5}], "none": None}
    write_checkpoint(tmp_path / "sub/model.pt", content)
    found = read_checkpoint(tmp_path / "sub/model.pt")
    assert torch.equal(found.pop("weights")["a"], content.pop("weights")["a"]) and found == content


def test_same_content_same_bytes(tmp_path: Path) -> None:
    """What is derived from a checkpoint is keyed by its bytes."""
    network = torch.nn.Linear(3, 3)
    for name in ("a", "b"):
        write_checkpoint(tmp_path / name, {"weights": dict(network.state_dict())})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_is_not_run(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "model.pt"
    if legacy:
        path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    else:
        torch.save({"weights": Trap(tmp_path / "sprung")}, path)
    with pytest.raises(InputError, match="no checkpoint of ours or is damaged") as caught:
        read_checkpoint(path)
    assert not (tmp_path / "sprung").exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 10, 500])
def test_damage_is_named(tmp_path: Path, kept: int) -> None:
    write_checkpoint(tmp_path / "model.pt", {"weights": torch.zeros(1000)})
    (tmp_path / "model.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:kept])
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(tmp_path / "model.pt")


def test_absence_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such checkpoint"):
        read_checkpoint(tmp_path / "model.pt")
    with pytest.raises(InputError, match="cannot be read"):
        read_checkpoint(tmp_path)
