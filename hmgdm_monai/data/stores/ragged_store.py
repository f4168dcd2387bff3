"""Read HDF5 units of tiles as one sequence: the common base of the graph store and the latent store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.files.hdf5_reading import check_declared, checked_dataset
from hmgdm_monai.data.stores.ragged_unit import FORMAT, Field
from hmgdm_monai.errors import InputError

_TABLES = ("row_id", "location_px", "mpp", "vertex_ptr", "edge_ptr", "notes")  # read completely
_OPEN_FILES = 64  # per process: a cohort has more slides than a process may have open files


@dataclass(frozen=True)
class TileInfo:
    """The origin of a stored tile.

    Attributes:
        unit: name of its unit, for example the row id of the slide, or the patient of plain tiles.
        row_id: id of its row in the manifest.
        location_px: (x, y) of its top-left corner in level-0 pixels.
        mpp: microns per pixel of the stored tile; None if unknown.
    """

    unit: str
    row_id: str
    location_px: tuple[int, int]
    mpp: float | None


@dataclass(frozen=True)
class Unit:
    """One HDF5 file of a store.

    Attributes:
        path: path of the file.
        name: name given when it was written.
        settings: the settings that produced its tiles.
        tiles: indices of its tiles in the store.
        notes: lines that its writer stored.
    """

    path: Path
    name: str
    settings: dict[str, Any]
    tiles: range
    notes: tuple[str, ...] = ()


class RaggedStore(Dataset):
    """The tiles of several units as one sequence; base class of the stores.

    Small tables (ids, positions, pointers) are read once in the constructor; arrays are read tile by tile. Each process
    opens the files itself when it first reads, so the store can be pickled and shared by any number of workers.

    Args:
        paths: paths of the units; tiles are numbered in this order.

    Attributes:
        units: description of each unit, in this order.

    Raises:
        InputError: a unit does not exist, cannot be read, or is of another kind.
    """

    kind: ClassVar[str]

    def __init__(self, paths: Sequence[Path | str]) -> None:
        self.units: list[Unit] = []
        self._infos: list[TileInfo] = []
        self._places: list[tuple[int, int]] = []  # (unit, index of the tile in the unit)
        self._pointers: list[tuple[np.ndarray, np.ndarray]] = []  # first vertex and first edge of each tile, per unit
        self._files: dict[int, h5py.File] = {}
        self._pid: int | None = None
        for path in paths:
            with _reading(Path(path)), _open(Path(path)) as file:
                self._add_unit(Path(path), file)

    def __len__(self) -> int:
        return len(self._places)

    def tile_info(self, index: int) -> TileInfo:
        """The origin of tile ``index``."""
        return self._infos[index]

    def _add_unit(self, path: Path, file: h5py.File) -> None:
        kind, version = file.attrs["kind"], int(file.attrs["format"])
        if kind != self.kind or version != FORMAT:
            raise InputError(
                f"{path}: holds {kind} in format {version}, not {self.kind} in format {FORMAT}; "
                "give the folder of the right store, or delete the file and run the preparation again"
            )
        for table in _TABLES:
            if table in file:
                check_declared(file[table], table)
        name, first = str(file.attrs["unit"]), len(self)
        rows = zip(file["row_id"].asstr()[:], file["location_px"][:], file["mpp"][:], strict=True)
        for tile, (row_id, (x, y), mpp) in enumerate(rows):
            known_mpp = None if np.isnan(mpp) else float(mpp)
            self._infos.append(TileInfo(name, str(row_id), (int(x), int(y)), known_mpp))
            self._places.append((len(self.units), tile))
        self._pointers.append((file["vertex_ptr"][:], file["edge_ptr"][:]))
        notes = tuple(map(str, file["notes"].asstr()[:])) if "notes" in file else ()
        self.units.append(Unit(path, name, json.loads(file.attrs["settings"]), range(first, len(self)), notes))

    def _read(self, index: int, fields: Sequence[Field]) -> dict[str, np.ndarray]:
        """Read the arrays of one tile, keyed by the names of ``fields``."""
        unit, tile = self._places[index]
        vertex_ptr, edge_ptr = self._pointers[unit]
        spans = {
            "tile": slice(tile, tile + 1),
            "vertex": slice(vertex_ptr[tile], vertex_ptr[tile + 1]),
            "edge": slice(edge_ptr[tile], edge_ptr[tile + 1]),
        }
        with _reading(self.units[unit].path):
            file = self._file(unit)
            return {field.name: file[field.name][(slice(None),) * field.axis + (spans[field.per],)] for field in fields}

    def _file(self, unit: int) -> h5py.File:
        """The unit's file, opened by this process: HDF5 does not support handles that were opened before a fork."""
        if self._pid != os.getpid():
            self._files, self._pid = {}, os.getpid()
        file = self._files.pop(unit, None)
        if file is None:
            if len(self._files) >= _OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            file = _open(self.units[unit].path)
        self._files[unit] = file  # move to the end: the least recently read file is closed first
        return file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}, "_pid": None}


def topology(arrays: Mapping[str, np.ndarray]) -> EntityGraph:
    """Build a graph from the arrays of ``TOPOLOGY``."""
    edge_index = torch.from_numpy(arrays["edge_index"].astype(np.int64))
    return EntityGraph(pos=torch.from_numpy(arrays["pos"]), edge_index=edge_index)


def _open(path: Path) -> h5py.File:
    # No lock: a finished unit never changes. No chunk cache: a tile is rarely read twice in a row, and HDF5 keeps 8 MiB
    # for each dataset of each open file.
    file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
    for name in file:
        checked_dataset(file, name)
    return file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert h5py's errors for a bad file to a one-line error that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: this unit does not exist; run the preparation again") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if isinstance(error, OSError) and error.errno is not None:  # the system failed; the file may be intact
            raise InputError(
                f"{path}: cannot be read ({os.strerror(error.errno)}); check the disk and access"
            ) from error
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: damaged ({reason}); delete it and run the preparation again") from error
