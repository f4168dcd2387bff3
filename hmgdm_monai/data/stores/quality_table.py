"""Quality scores of the tiles of a unit, and the tiles that were left out: small tables in the unit's HDF5 file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from hmgdm_monai.data.files.hdf5_reading import check_declared, checked_dataset, opened_hdf5

_TABLES = ("quality", "left_out_row_id", "left_out_px", "left_out_reason", "left_out_quality")


@dataclass(frozen=True)
class LeftOutTile:
    """A tile that is not in its unit.

    Attributes:
        row_id: id of its row in the manifest.
        location_px: (x, y) of its top-left corner in level-0 pixels.
        reason: why it was left out, one word.
        scores: its scores; None if they were not computed.
    """

    row_id: str
    location_px: tuple[int, int]
    reason: str
    scores: tuple[float, ...] | None = None


@dataclass
class QualityTable:
    """Quality of the tiles of one unit.

    Attributes:
        names: names of the scores.
        kept: scores of the tiles in the unit, in their order; empty if they were not computed.
        left_out: the tiles that were left out.
    """

    names: tuple[str, ...] = ()
    kept: list[tuple[float, ...]] = field(default_factory=list)
    left_out: list[LeftOutTile] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Number of left-out tiles of each reason, the most frequent first."""
        return dict(Counter(tile.reason for tile in self.left_out).most_common())

    def write(self, file: h5py.File) -> None:
        """Write the tables to an open unit; nothing if there are neither scores nor left-out tiles."""
        if self.kept:
            file["quality"] = np.array(self.kept, dtype=np.float32)
            file["quality"].attrs["names"] = list(self.names)
        if self.left_out:
            file["left_out_row_id"] = np.array([tile.row_id for tile in self.left_out], dtype=h5py.string_dtype())
            file["left_out_px"] = np.array([tile.location_px for tile in self.left_out], dtype=np.int64)
            file["left_out_reason"] = np.array([tile.reason for tile in self.left_out], dtype=h5py.string_dtype())
            unknown = (np.nan,) * len(self.names)
            scores = [unknown if tile.scores is None else tile.scores for tile in self.left_out]
            file["left_out_quality"] = np.array(scores, dtype=np.float32).reshape(len(scores), len(self.names))
            file["left_out_quality"].attrs["names"] = list(self.names)


def read_quality(path: Path | str) -> QualityTable:
    """Read the tables of a unit; they are empty if it has none.

    Args:
        path: path of the unit.

    Raises:
        InputError: the unit does not exist or is damaged.
    """
    with opened_hdf5(path, "unit", "delete it and run the preparation again") as file:
        found = {name: dataset for name in _TABLES if (dataset := checked_dataset(file, name)) is not None}
        for name, dataset in found.items():
            check_declared(dataset, name)
        table = QualityTable()
        if "quality" in found:
            table.names = _names(found["quality"])
            table.kept = _tuples(found["quality"][:])
        if "left_out_px" in found:
            table.names = table.names or _names(found["left_out_quality"])
            rows = zip(
                found["left_out_row_id"].asstr()[:],
                found["left_out_px"][:].tolist(),
                found["left_out_reason"].asstr()[:],
                _tuples(found["left_out_quality"][:]),
                strict=True,
            )
            table.left_out = [
                LeftOutTile(str(row_id), (x, y), str(reason), None if np.isnan(scores).all() else scores)
                for row_id, (x, y), reason, scores in rows
            ]
        return table


def format_left_out(counts: dict[str, int], tiles: int) -> str:
    """Return the message about left-out tiles: "5 of its 40 tiles are left out: pen 3, blur 2".

    Args:
        counts: number of left-out tiles of each reason.
        tiles: number of all tiles.
    """
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.items())
    return f"{sum(counts.values())} of its {tiles} tiles are left out: {reasons}"


def _names(dataset: h5py.Dataset) -> tuple[str, ...]:
    names: Sequence[str] = dataset.attrs["names"]
    return tuple(map(str, names))


def _tuples(values: Iterable[np.ndarray]) -> list[tuple[float, ...]]:
    return [tuple(map(float, row)) for row in values]
