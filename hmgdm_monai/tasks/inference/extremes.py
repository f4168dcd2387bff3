"""Tiles and superpixels with the highest and lowest values: collected slide by slide, and drawn as one figure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

RANKS = ("tile_high", "tile_low", "entity_high", "entity_low")


@dataclass(frozen=True)
class Extreme:
    """A tile that is among the highest or lowest of a quantity, with its most extreme entity (S = side in px).

    Attributes:
        tile_value: value of the tile.
        entity_value: value of the entity.
        location_px: upper left corner of the tile in level-0 pixels.
        mask: (S, S) bool, pixels of the entity.
    """

    tile_value: float
    entity_value: float
    location_px: tuple[int, int]
    mask: np.ndarray

    def value(self, rank: str) -> float:
        """Value by which a rank of :data:`RANKS` orders."""
        return self.tile_value if rank.startswith("tile") else self.entity_value


@dataclass
class Extremes:
    """The extremes of one quantity over a slide, each from another tile.

    Attributes:
        most: number of tiles to keep for each rank.
        kept: rank -> heap of (sort key, number, extreme).
    """

    most: int
    kept: dict[str, list[tuple[float, int, Extreme]]] = field(default_factory=lambda: {rank: [] for rank in RANKS})
    _number: count = field(default_factory=count)

    def add(
        self, tile_values: np.ndarray, values: np.ndarray, tile: np.ndarray, label_maps: np.ndarray, places: np.ndarray
    ) -> None:
        """Add a batch of tiles.

        Args:
            tile_values: (B,) values of the tiles.
            values: (N,) values of their entities, tile by tile; NaN for an entity that is not ranked.
            tile: (N,) tile of each entity, 0 to B - 1, ascending.
            label_maps: (B, S, S), entity of each pixel within its tile; -1 for none.
            places: (B, 2) upper left corners in level-0 pixels.
        """
        first = np.searchsorted(tile, np.arange(len(places)))
        last = np.append(first[1:], len(tile))
        for number, (start, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            theirs = values[start:end]
            if not np.isfinite(theirs).any():
                continue
            for rank in RANKS:
                high = rank.endswith("high")
                entity = int(np.nanargmax(theirs) if high else np.nanargmin(theirs))
                ordered = float(tile_values[number] if rank.startswith("tile") else theirs[entity])
                key, heap = ordered if high else -ordered, self.kept[rank]
                if not np.isfinite(key) or (len(heap) >= self.most and key <= heap[0][0]):
                    continue
                mask = label_maps[number] == entity
                x, y = (int(part) for part in places[number])
                item = (
                    key,
                    next(self._number),
                    Extreme(float(tile_values[number]), float(theirs[entity]), (x, y), mask),
                )
                if len(heap) < self.most:
                    heapq.heappush(heap, item)
                else:
                    heapq.heapreplace(heap, item)

    def ranked(self, rank: str) -> list[Extreme]:
        """Extremes of a rank, the most extreme first."""
        return [extreme for _, _, extreme in sorted(self.kept[rank], key=lambda item: -item[0])]


def to_arrays(number: int, extremes: Extremes) -> dict[str, np.ndarray]:
    """Convert the extremes of a quantity to arrays for a file; :func:`from_arrays` converts back.

    Args:
        number: number of the quantity.
        extremes: its extremes.
    """
    arrays: dict[str, np.ndarray] = {}
    for rank in RANKS:
        found = extremes.ranked(rank)
        if found:
            numbers = [(one.tile_value, one.entity_value, *one.location_px) for one in found]
            arrays[f"{number}_{rank}"] = np.array(numbers, np.float64)
            arrays[f"{number}_{rank}_masks"] = np.stack([one.mask for one in found])
    return arrays


def from_arrays(number: int, rank: str, arrays: Mapping[str, np.ndarray]) -> list[Extreme]:
    """Extremes of a quantity and rank, the most extreme first, from the arrays of :func:`to_arrays`."""
    numbers = arrays.get(f"{number}_{rank}", np.empty((0, 4)))
    masks = arrays.get(f"{number}_{rank}_masks", np.empty((0, 0, 0), bool))
    return [
        Extreme(tile, entity, (int(x), int(y)), mask.astype(bool))
        for (tile, entity, x, y), mask in zip(numbers.tolist(), masks, strict=True)
    ]


def merged(found: Sequence[tuple[str, Extreme]], rank: str, most: int) -> list[tuple[str, Extreme]]:
    """The most extreme of several slides, as pairs (row id, extreme), the most extreme first."""
    sign = -1.0 if rank.endswith("high") else 1.0
    return sorted(found, key=lambda pair: sign * pair[1].value(rank))[:most]
