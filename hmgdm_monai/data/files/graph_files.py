"""Read graphs that another program built from an image (PyG or NPZ files), without running code stored in them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.files.checkpoint_file import load_tensors
from hmgdm_monai.errors import InputError

MOST_BYTES = 2**31  # maximum uncompressed size of the graph in an NPZ file
_TORCH = (".pt", ".pth")
_KEYS = ("x", "edge_index", "pos", "edge_attr")


def read_graphs(path: Path | str) -> list[EntityGraph]:
    """Read the graphs of one image.

    Args:
        path: a torch file (.pt, .pth) with a PyG ``Data``, a dict of tensors, or a list of either; or an NPZ file with
            one graph. A graph has ``x`` (V, D), ``edge_index`` (2, E), ``pos`` (V, 2), optionally ``edge_attr`` (E, D).

    Returns:
        Graphs with ``vertex_latents`` (V, D) float32, ``edge_index`` (2, E') with each undirected edge once and no
        self-loops, and ``pos`` (V, 2) in [0, 1]. If all graphs have ``edge_attr`` with D numbers, also ``edge_latents``
        (E', D), averaged over the two directions of an edge. Positions outside [0, 1] are shifted to start at 0 and
        divided by the longer side of their bounding box.

    Raises:
        InputError: the file does not exist or holds other objects than tensors, or a graph is not as above.
    """
    path = Path(path)
    items = _items(path)
    if not items:
        raise InputError(f"{path}: holds no graph")
    graphs = []
    for number, item in enumerate(items):
        where = f"{path}: graph {number}" if len(items) > 1 else str(path)
        graphs.append(_graph(_values(item, where), where))
    sizes = sorted({int(graph.vertex_latents.shape[1]) for graph in graphs})
    if len(sizes) > 1:
        raise InputError(f"{path}: x has {sizes[0]} numbers per vertex in one graph and {sizes[1]} in another")
    if not all("edge_latents" in graph for graph in graphs):
        for graph in graphs:
            graph.pop("edge_latents", None)
    return graphs


def _items(path: Path) -> list[Any]:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path}: no such file of graphs; correct the manifest's graphs column")
    if suffix == ".npz":
        return [_read_npz(path)]
    if suffix not in _TORCH:
        raise InputError(f"{path}: graphs are read from .pt, .pth and .npz, not {suffix or 'this'}; convert it")
    loaded = _read_torch(path)
    if isinstance(loaded, tuple):  # format of InMemoryDataset: all graphs concatenated, with the start of each
        raise InputError(f"{path}: holds a collated data set of PyG; save the list of its graphs: [*dataset]")
    return loaded if isinstance(loaded, list) else [loaded]


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(record.file_size for record in archive.infolist())
        if declared > MOST_BYTES:
            raise ValueError(f"it declares {declared} bytes, more than {MOST_BYTES}")
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in _KEYS if key in file}
    except Exception as error:  # zipfile and NumPy raise many kinds for a damaged file
        raise InputError(f"{path}: not a readable NPZ file of arrays ({_short(error)})") from error


def _read_torch(path: Path) -> Any:
    from torch_geometric.data.data import Data, DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    try:
        return load_tensors(path, (Data, DataEdgeAttr, DataTensorAttr, GlobalStorage))
    except pickle.UnpicklingError as error:
        reason = _short(str(error).partition("WeightsUnpickler error: ")[2] or error)
        raise InputError(
            f"{path}: holds objects other than PyG's Data and tensors, which may run code, and is not read ({reason}); "
            "save a list of Data, or of dicts of tensors, with torch.save"
        ) from error
    # A file that is not a torch archive, or is damaged, can raise many kinds of errors.
    except Exception as error:
        raise InputError(f"{path}: not a readable torch file ({_short(error)})") from error


def _values(item: Any, where: str) -> dict[str, np.ndarray]:
    """The arrays of a graph, keyed by name."""
    from torch_geometric.data import Data

    try:
        found = item if isinstance(item, Mapping) else item.to_dict() if isinstance(item, Data) else None
        if found is not None:
            return {key: _array(found[key]) for key in _KEYS if found.get(key) is not None}
    except Exception as error:  # the loaded objects may have any structure
        raise InputError(f"{where}: not a graph of tensors ({_short(error)})") from error
    raise InputError(f"{where}: neither PyG's Data nor a dict of tensors, but {type(item).__name__}")


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().float() if value.is_floating_point() else value.detach()
        return value.cpu().numpy()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} where a tensor was expected")
    return value


def _graph(values: Mapping[str, np.ndarray], where: str) -> EntityGraph:
    if missing := [key for key in ("x", "edge_index", "pos") if key not in values]:
        raise InputError(f"{where}: lacks {', '.join(missing)}; a graph needs x, edge_index and pos")
    x, pos = (_numbers(values[key], key, where) for key in ("x", "pos"))
    ends, attributes = values["edge_index"], values.get("edge_attr")
    if x.ndim != 2 or 0 in x.shape:
        raise InputError(f"{where}: x must be (V, D), one row per vertex, not {x.shape}")
    if pos.shape != (len(x), 2):
        raise InputError(f"{where}: pos must be ({len(x)}, 2), x and y of each vertex, not {pos.shape}")
    if ends.ndim != 2 or len(ends) != 2 or (ends.size and ends.dtype.kind not in "iu"):
        raise InputError(f"{where}: edge_index must be (2, E) of integers, not {ends.dtype} {ends.shape}")
    if ends.size and not (0 <= ends.min() and ends.max() < len(x)):
        raise InputError(f"{where}: edge_index names vertices {ends.min()} to {ends.max()}, of {len(x)}")
    if attributes is not None and attributes.shape[:1] != ends.shape[1:]:
        raise InputError(f"{where}: edge_attr {attributes.shape} must have one row for each of {ends.shape[1]} edges")
    if attributes is not None and attributes.shape[1:] != x.shape[1:]:
        attributes = None  # not usable as latents: its size differs from x
    if attributes is not None:
        attributes = _numbers(attributes, "edge_attr", where)
    edge_index, edge_latents = _undirected(ends.astype(np.int64), attributes, len(x))
    graph = EntityGraph(
        pos=torch.from_numpy(_scaled(pos)),
        edge_index=torch.from_numpy(edge_index),
        vertex_latents=torch.from_numpy(x),
    )
    if edge_latents is not None:
        graph.edge_latents = torch.from_numpy(edge_latents)
    return graph


def _numbers(values: np.ndarray, name: str, where: str) -> np.ndarray:
    """Convert to contiguous float32."""
    if values.dtype.kind not in "iufb":
        raise InputError(f"{where}: {name} must be numbers, not {values.dtype}")
    with np.errstate(over="ignore"):  # overflow raises below
        numbers = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: {name} holds NaN, infinity, or too large numbers")
    return numbers


def _undirected(ends: np.ndarray, values: np.ndarray | None, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Keep each pair of vertices once, first < second, sorted; values (E, D) are averaged over the edges of a pair."""
    loops = ends[0] == ends[1]
    first, second = np.sort(ends[:, ~loops], axis=0)
    keys, place = np.unique(first * count + second, return_inverse=True)
    edge_index = np.stack([keys // count, keys % count])
    if values is None:
        return edge_index, None
    sums = np.zeros((len(keys), values.shape[1]))
    np.add.at(sums, place, values[~loops].astype(np.float64))
    return edge_index, (sums / np.bincount(place, minlength=len(keys))[:, None]).astype(np.float32)


def _scaled(pos: np.ndarray) -> np.ndarray:
    """Scale positions (V, 2) to [0, 1], keeping proportions."""
    if pos.min() >= 0 and pos.max() <= 1:
        return pos
    low = pos.astype(np.float64).min(0)
    side = float((pos - low).max())
    return ((pos - low) / side if side > 0 else np.full(pos.shape, 0.5)).astype(np.float32)


def _short(error: Any) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
