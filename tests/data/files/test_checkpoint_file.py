"""Checkpoint files hold plain values, and nothing in them is ever run."""

from __future__ import annotations

import os
import pickle
import resource
import zipfile
from pathlib import Path

import pytest
import torch

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
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


def rewritten(path: Path, change, compression: int = zipfile.ZIP_STORED) -> None:
    """Write the archive anew, each record changed by a function of its name and bytes."""
    with zipfile.ZipFile(path) as archive:
        records = [(record.filename, archive.read(record)) for record in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records:
            archive.writestr(name, change(name, data))


def test_a_file_that_declares_more_than_it_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    write_checkpoint(path, {"weights": torch.zeros(25_000_000)})
    rewritten(path, lambda _, data: data, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"data/0 declares 100000000 bytes in 9\d{4}\)") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_records_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A directory may name one record many times."""
    path = tmp_path / "model.pt"
    write_checkpoint(path, {str(n): torch.zeros(1000) + n for n in range(9)})
    with zipfile.ZipFile(path, "a") as archive:
        first = next(record for record in archive.filelist if record.filename.endswith("data/0"))
        for record in archive.filelist:
            if "/data/" in record.filename:
                record.header_offset = first.header_offset
        archive.filelist += [first] * 99
        archive._didModify = True
    with pytest.raises(InputError, match="declare .* bytes, the file has"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(1).expand(100_000, 100_000),
        [torch.zeros(1000).expand(99, 1000) for _ in range(1000)],
        torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (100_000, 100_000)),
    ],
)
def test_tensors_that_are_far_more_than_the_file_are_refused(tmp_path: Path, content: object) -> None:
    write_checkpoint(tmp_path / "model.pt", {"state": [{"weights": content}]})
    with pytest.raises(InputError, match="its tensors declare .* bytes, the file has"):
        read_checkpoint(tmp_path / "model.pt")


def test_views_and_shared_storage_are_read(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    write_checkpoint(tmp_path / "model.pt", {"a": base[3:7], "b": base.view(3, 4).T, "none": torch.empty(0)})
    found = read_checkpoint(tmp_path / "model.pt")
    assert torch.equal(found["a"], base[3:7]) and torch.equal(found["b"], base.view(3, 4).T)


def test_old_archives_that_allocate_as_they_say_are_not_read(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(9)}, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="no checkpoint of ours"):
        read_checkpoint(tmp_path / "model.pt")
