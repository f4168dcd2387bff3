"""Write an HDF5 unit: tiles of equal size with different numbers of vertices and edges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.files.whole_file import whole_hdf5
from hmgdm_monai.data.stores.quality_table import QualityTable

FORMAT = 1
_ROWS_PER_CHUNK = 256


@dataclass(frozen=True)
class StoredTile:
    """A tile to be written to a unit: its graph and its origin.

    Attributes:
        graph: entity graph with ``pos`` and ``edge_index``, and the other fields that its store keeps.
        row_id: id of its row in the manifest.
        location_px: (x, y) of its top-left corner in level-0 pixels.
        mpp: microns per pixel of the tile; None if unknown.
    """

    graph: EntityGraph
    row_id: str
    location_px: tuple[int, int]
    mpp: float | None


@dataclass(frozen=True)
class Field:
    """One HDF5 dataset of a unit.

    Attributes:
        name: name of the dataset.
        per: whether there is one row (or column) per "tile", "vertex" or "edge".
        dtype: NumPy type of the stored values.
        source: function from a tile to its values, as an array or a CPU tensor.
        axis: the axis along which tiles are appended.
    """

    name: str
    per: Literal["tile", "vertex", "edge"]
    dtype: str
    source: Callable[[Any], Any]
    axis: int = 0


TOPOLOGY = (
    Field("pos", "vertex", "float32", lambda tile: tile.graph.pos),
    Field("edge_index", "edge", "int32", lambda tile: tile.graph.edge_index, axis=1),
)


def settings_key(settings: Mapping[str, Any]) -> str:
    """Hash ``settings`` to twelve hexadecimal digits, independent of the order of their keys.

    Args:
        settings: all settings that influence the stored data, as JSON values.
    """
    return hashlib.sha256(_canonical(settings).encode()).hexdigest()[:12]


def unit_path(folder: Path | str, name: str, settings: Mapping[str, Any]) -> Path:
    """Path of the unit ``name`` with these settings: ``folder/<safe name>.<key>.h5``.

    Args:
        folder: folder of the store.
        name: name of the unit.
        settings: the settings that produced its tiles.
    """
    return Path(folder) / f"{safe_name(name)}.{settings_key(settings)}.h5"


def write_ragged_unit(
    folder: Path | str,
    name: str,
    tiles: Iterable[StoredTile],
    settings: Mapping[str, Any],
    kind: str,
    fields: Sequence[Field],
    notes: Sequence[str] = (),
    quality: QualityTable | None = None,
) -> Path:
    """Write a unit completely or not at all; an existing unit with the same settings is kept.

    Args:
        folder: folder of the store.
        name: name of the unit.
        tiles: tiles, consumed one by one and not kept, so that a slide need not fit into memory; not consumed if the
            unit exists. Without tiles, a unit of length 0 is written, so that an empty slide is not read again.
        settings: the settings that produced the tiles; see :func:`settings_key`.
        kind: kind of store that may read the unit.
        fields: the datasets besides the topology.
        notes: lines stored with the unit; read after the last tile, so that they can be added while tiles are made.
        quality: scores of the tiles, and tiles that were left out; read after the last tile, too.

    Returns:
        Path of the unit.

    Raises:
        InputError: the disk is full.
        ValueError: the arrays of a tile do not fit its graph, the tiles before it, or the stored type.
    """
    path = unit_path(folder, name, settings)
    if path.exists():
        return path
    row_ids: list[str] = []
    locations: list[tuple[int, int]] = []
    mpps: list[float] = []
    vertex_ptr, edge_ptr = [0], [0]
    with whole_hdf5(path) as (file, check):
        for tile in tiles:
            counts = {"tile": 1, "vertex": tile.graph.num_vertices, "edge": int(tile.graph.edge_index.shape[1])}
            for field in (*TOPOLOGY, *fields):
                _append(file, field, _as_stored(np.asarray(field.source(tile)), field), counts[field.per])
            check()
            row_ids.append(tile.row_id)
            locations.append(tile.location_px)
            mpps.append(float("nan") if tile.mpp is None else tile.mpp)
            vertex_ptr.append(vertex_ptr[-1] + counts["vertex"])
            edge_ptr.append(edge_ptr[-1] + counts["edge"])
        file["row_id"] = np.array(row_ids, dtype=h5py.string_dtype())
        file["location_px"] = np.array(locations, dtype=np.int64).reshape(-1, 2)
        file["mpp"] = np.array(mpps, dtype=np.float64)
        file["vertex_ptr"] = np.array(vertex_ptr, dtype=np.int64)
        file["edge_ptr"] = np.array(edge_ptr, dtype=np.int64)
        if notes:
            file["notes"] = np.array(list(notes), dtype=h5py.string_dtype())
        if quality is not None:
            quality.write(file)
        file.attrs.update(kind=kind, format=FORMAT, unit=name, settings=_canonical(settings))
    return path


def _canonical(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _as_stored(value: np.ndarray, field: Field) -> np.ndarray:
    with np.errstate(over="ignore"):  # overflow raises below
        stored = value.astype(field.dtype)
    if not (np.isfinite(stored).all() if stored.dtype.kind == "f" else np.array_equal(stored, value)):
        raise ValueError(
            f"{field.name} holds values that {field.dtype} cannot represent: NaN, infinity, or too large numbers"
        )
    return stored


def _append(file: h5py.File, field: Field, value: np.ndarray, count: int) -> None:
    axis = field.axis
    if value.shape[axis] != count:
        raise ValueError(f"{field.name} has shape {value.shape}, but {count} were expected along axis {axis}")
    if field.name not in file:
        _create(file, field, value.shape)
    dataset = file[field.name]
    if dataset.shape[:axis] + dataset.shape[axis + 1 :] != value.shape[:axis] + value.shape[axis + 1 :]:
        raise ValueError(
            f"{field.name} has shape {value.shape}, the tiles before it {dataset.shape} (axis {axis} grows)"
        )
    start = dataset.shape[axis]
    dataset.resize(start + count, axis=axis)
    dataset[(slice(None),) * axis + (slice(start, start + count),)] = value


def _create(file: h5py.File, field: Field, shape: tuple[int, ...]) -> None:
    axis, per_tile = field.axis, field.per == "tile"

    def along_axis(size: int | None) -> tuple[Any, ...]:
        return (*shape[:axis], size, *shape[axis + 1 :])

    file.create_dataset(
        field.name,
        shape=along_axis(0),
        maxshape=along_axis(None),
        chunks=along_axis(1 if per_tile else _ROWS_PER_CHUNK),
        dtype=field.dtype,
        # gzip saves a tenth of an image and 95 % of a label map, but nothing of floats.
        compression="gzip" if per_tile else None,
        compression_opts=1 if per_tile else None,
        fletcher32=True,  # a checksum per chunk: damage on disk raises an error instead of entering training
    )
