"""Graphs of others: read whole or refused in one line, without running what a file may hold."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data, InMemoryDataset

from hmgdm_monai.data.files.graph_files import read_graphs
from hmgdm_monai.errors import InputError

X = torch.arange(12.0).reshape(4, 3)
POS = torch.tensor([[100.0, 40.0], [300.0, 40.0], [100.0, 140.0], [200.0, 90.0]])
# Both directions of 0-1, one of 2-1, a loop, and 0-3 twice in the same direction.
ENDS = torch.tensor([[0, 1, 2, 3, 0, 0], [1, 0, 1, 3, 3, 3]])
VALUES = torch.tensor([1.0, 3.0, 5.0, 100.0, 7.0, 8.0])[:, None].repeat(1, 3)


def graph(**other: Any) -> dict[str, Any]:
    return {"x": X, "edge_index": ENDS, "pos": POS, **other}


def as_pyg(path: Path, values: dict[str, Any]) -> Path:
    torch.save(Data(**values), path)
    return path


def as_list(path: Path, values: dict[str, Any]) -> Path:
    torch.save([Data(**values), Data(**values)], path)
    return path


def as_dict(path: Path, values: dict[str, Any]) -> Path:
    torch.save(values, path)
    return path


def as_npz(path: Path, values: dict[str, Any]) -> Path:
    np.savez(path.with_suffix(".npz"), **{key: np.asarray(value) for key, value in values.items()})
    return path.with_suffix(".npz")


@pytest.mark.parametrize("write", [as_pyg, as_list, as_dict, as_npz])
def test_a_graph_comes_back_undirected_and_scaled(tmp_path: Path, write: Callable) -> None:
    graphs = read_graphs(write(tmp_path / "a.pt", graph(edge_attr=VALUES)))
    assert len(graphs) == (2 if write is as_list else 1)
    for found in graphs:
        assert torch.equal(found.vertex_latents, X)
        assert found.edge_index.T.tolist() == [[0, 1], [0, 3], [1, 2]]
        assert found.edge_latents.tolist() == [[2.0] * 3, [7.5] * 3, [5.0] * 3]
        assert torch.allclose(found.pos, torch.tensor([[0, 0], [1, 0], [0, 0.5], [0.5, 0.25]]))
        assert found.pos.dtype == found.vertex_latents.dtype == torch.float32


def test_what_a_graph_need_not_have(tmp_path: Path) -> None:
    narrow = graph(edge_attr=VALUES[:, :1], y=torch.tensor([1]), name="slide 7")
    (found,) = read_graphs(as_pyg(tmp_path / "a.pt", narrow))
    assert "edge_latents" not in found
    lonely = {
        "x": torch.ones(1, 3, dtype=torch.float64),
        "edge_index": torch.empty(2, 0),
        "pos": torch.tensor([[9, 9]]),
    }
    (found,) = read_graphs(as_dict(tmp_path / "b.pt", lonely))
    assert found.edge_index.shape == (2, 0) and found.pos.tolist() == [[0.5, 0.5]]
    scaled = graph(pos=torch.rand(4, 2))
    assert torch.equal(read_graphs(as_dict(tmp_path / "c.pt", scaled))[0].pos, scaled["pos"])
    # Edge values of one graph alone are no use to a batch.
    torch.save([Data(**graph(edge_attr=VALUES)), Data(**graph())], tmp_path / "d.pt")
    assert not any("edge_latents" in found for found in read_graphs(tmp_path / "d.pt"))


@pytest.mark.parametrize("write", [as_pyg, as_dict, as_npz])
@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"x": X.index_fill(0, torch.tensor([2]), float("nan"))}, "x holds NaN"),
        ({"x": torch.full((4, 3), 1e300, dtype=torch.float64)}, "too large"),
        ({"x": X[:, 0]}, r"x must be \(V, D\)"),
        ({"x": X[:0], "edge_index": ENDS[:, :0], "pos": POS[:0]}, r"x must be \(V, D\)"),
        ({"pos": POS[:3]}, r"pos must be \(4, 2\)"),
        ({"pos": torch.cat((POS, POS), 1)}, r"pos must be \(4, 2\)"),
        ({"pos": POS / 0}, "pos holds NaN, infinity"),
        ({"edge_index": ENDS.T}, r"edge_index must be \(2, E\)"),
        ({"edge_index": ENDS.float()}, "of integers"),
        ({"edge_index": ENDS + 1}, "names vertices 1 to 4, of 4"),
        ({"edge_index": ENDS - 1}, "names vertices -1 to 2, of 4"),
        ({"edge_attr": VALUES[:2]}, "one row for each of 6 edges"),
        ({"edge_attr": VALUES * float("inf")}, "edge_attr holds NaN"),
        ({"x": X.to(torch.complex64)}, "x must be numbers"),
    ],
)
def test_each_fault_is_one_line(tmp_path: Path, write: Callable, values: dict, match: str) -> None:
    path = write(tmp_path / "a.pt", graph(**values))
    with pytest.raises(InputError, match=match) as told:
        read_graphs(path)
    assert str(told.value).startswith(f"{path}: ") and "\n" not in str(told.value)


def test_the_graph_of_a_list_is_named(tmp_path: Path) -> None:
    torch.save([Data(**graph()), Data(x=X, pos=POS)], tmp_path / "a.pt")
    with pytest.raises(InputError, match="graph 1: lacks edge_index"):
        read_graphs(tmp_path / "a.pt")
    torch.save([Data(**graph()), Data(**graph(x=torch.ones(4, 5)))], tmp_path / "b.pt")
    with pytest.raises(InputError, match="3 numbers per vertex in one graph and 5 in another"):
        read_graphs(tmp_path / "b.pt")


class Hostile:
    """Writes a file where a careless reader unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "run"
    torch.save([Data(**graph(note=Hostile(trap)))], tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Hostile(trap)))
    np.savez(tmp_path / "c.npz", x=np.array([Hostile(trap)], object), edge_index=ENDS, pos=POS)
    for name in ("a.pt", "b.pt", "c.npz"):
        with pytest.raises(InputError, match=f"{name}: ") as told:
            read_graphs(tmp_path / name)
        assert "\n" not in str(told.value)
    assert not trap.exists()
    pickle.loads((tmp_path / "b.pt").read_bytes())  # the trap does work
    assert trap.exists()


def test_a_file_that_declares_more_than_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = torch.ones(1, 1).expand(4, 10**7)  # one number, told to be forty million
    torch.save([Data(**graph(x=wide))], tmp_path / "a.pt")
    with pytest.raises(InputError, match="declare"):
        read_graphs(tmp_path / "a.pt")
    path = as_npz(tmp_path / "b", graph())
    monkeypatch.setattr("hmgdm_monai.data.files.graph_files.MOST_BYTES", 100)
    with pytest.raises(InputError, match="more than 100"):
        read_graphs(path)


def test_what_is_no_file_of_graphs(tmp_path: Path) -> None:
    data = Data(**graph())
    torch.save(InMemoryDataset.collate([data, data]), tmp_path / "collated.pt")
    torch.save(Batch.from_data_list([data]), tmp_path / "batch.pt")
    torch.save([], tmp_path / "none.pt")
    torch.save([3], tmp_path / "number.pt")
    torch.save({"x": "text", "edge_index": ENDS, "pos": POS}, tmp_path / "text.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    (tmp_path / "a.graphml").write_text("<graphml/>")
    expected = {
        "collated.pt": "collated",
        "batch.pt": "other than PyG's Data",
        "none.pt": "holds no graph",
        "number.pt": "int",
        "text.pt": "not a graph of tensors",
        "junk.pt": "not",
        "junk.npz": "not a readable NPZ",
        "a.graphml": "not .graphml",
        "absent.pt": "no such file",
    }
    for name, match in expected.items():
        with pytest.raises(InputError, match=match) as told:
            read_graphs(tmp_path / name)
        assert "\n" not in str(told.value)
