"""The labeled tiles of a cohort, clean and corrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from reproduce_parts.cohorts import Cohort
from reproduce_parts.corruption import CLEAN, corrupt


class ScoredTiles:
    """The original labeled tiles of a cohort, without stain normalization.

    Args:
        data: :class:`~hmgdm_monai.tasks.pretraining.graph_data.PretrainingData` of the cohort's manifest without stain
            normalization.
        cohort: cohort with the labels, which the manifest does not contain.

    Attributes:
        labels: (N,) class of each tile.
        groups: (N,) biopsy or patient of each tile.
        ids: name of each tile.
        key: identifies pixels and order of all tiles.
    """

    def __init__(self, data: Any, cohort: Cohort) -> None:
        labels = cohort.labels
        rows = data.cohort.tile_rows
        self._places = [place for place, row in enumerate(rows) if row.image in labels]
        self._store = data.cohort.store(tiles=False)
        self.labels = np.array([labels[rows[place].image] for place in self._places])
        self.groups = np.array([rows[place].patient for place in self._places])
        self.ids = [f"{rows[place].id} {place}" for place in self._places]
        # The name of a store file depends on everything that determines its tiles.
        identity = "\n".join([*self.ids, *(path.name for path in data.cohort.paths)])
        self.key = hashlib.sha256(identity.encode()).hexdigest()[:24]

    def __len__(self) -> int:
        return len(self._places)

    def images(self, kind: str = CLEAN) -> Iterator[np.ndarray]:
        """Return tiles (S, S, 3) uint8 in order; ``kind`` as in :func:`~reproduce_parts.corruption.corrupt`."""
        for number, place in enumerate(self._places):
            yield corrupt(self._store.image(place), kind, number)
