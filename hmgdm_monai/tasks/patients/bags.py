"""Patient bags: all tiles of all slides of a patient, as one graph whose vertices are tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from torch_geometric.data import Data

from hmgdm_monai.data.files.features_file import features_shape, read_features
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.tile_graph import TileGraph, edge_lengths


@dataclass(frozen=True)
class Patient:
    """One patient of a cohort.

    Attributes:
        id: id in the manifest.
        time: time to death or to the last observation.
        event: 1 = died, 0 = censored.
        features: features file of each of the patient's slides.
        fold: cross-validation fold from the manifest; None without.
        columns: further cells of the manifest by column name; each from the first row of the patient that has a value.
    """

    id: str
    time: float
    event: int
    features: tuple[Path, ...]
    fold: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def group_patients(
    rows: Sequence[ManifestRow],
    features: Mapping[str, Path],
    columns: Mapping[int, Mapping[str, str]] | None = None,
) -> list[Patient]:
    """Return the patients of a manifest, in the order in which they first appear.

    Args:
        rows: rows with time and event; all rows of a patient have the same values (the manifest checks this).
        features: features file by row id; rows without one are skipped.
        columns: further cells by line of the CSV.
    """
    grouped: dict[str, list[ManifestRow]] = {}
    for row in rows:
        if row.id in features:
            grouped.setdefault(row.patient, []).append(row)
    patients = []
    for name, theirs in grouped.items():
        cells: dict[str, str] = {}
        for row in theirs:
            for column, text in (columns or {}).get(row.line, {}).items():
                cells[column] = cells.get(column) or text
        first = theirs[0]
        if first.time is None or first.event is None:
            raise ValueError(
                f"patient {name!r} has no time or no event; read the manifest with require=('time', 'event')"
            )
        paths = tuple(features[row.id] for row in theirs)
        patients.append(Patient(name, first.time, first.event, paths, first.fold, cells))
    return patients


class PatientBags(Dataset):
    """One :class:`torch_geometric.data.Data` for each patient.

    Its fields are ``x`` (M, D), the features of all tiles; ``slide`` (M,), the number of the slide within the patient;
    ``time`` (1,) and ``event`` (1,), float64; and ``place`` (1,), the index of the patient in the data set. With a tile
    graph there are also ``edge_index`` (2, E), whose edges never join two slides, and ``edge_length`` (E,), see
    :func:`~hmgdm_monai.transforms.tile_graph.edge_lengths`. PyG's loader collates bags of different size by
    concatenation, with a ``batch`` vector (N,), without padding.

    Bags and their edges stay in memory up to ``cache_bytes``. Further bags are read, and their edges computed, each
    time.

    Args:
        patients: patients in the order of the data set.
        graph: makes the edges; None for no edges.
        cache_bytes: maximum size of the cache; 0 disables it.

    Attributes:
        num_features: D.

    Raises:
        InputError: there are no patients, a features file cannot be used, or its number of channels differs.
    """

    def __init__(
        self, patients: Sequence[Patient], graph: TileGraph | None = None, cache_bytes: int = 4 * 2**30
    ) -> None:
        if not patients:
            raise InputError("no patient has features; nothing to work on")
        self.patients, self.graph = tuple(patients), graph
        self._free_bytes = cache_bytes
        self._cache: dict[int, Data] = {}
        first = self.patients[0].features[0]
        self.num_features = features_shape(first)[1]
        for patient in self.patients:
            for path in patient.features:
                if (channels := features_shape(path)[1]) != self.num_features:
                    raise InputError(
                        f"{path}: {channels} channels, but {first} has {self.num_features}; use one encoder for all"
                    )

    def __len__(self) -> int:
        return len(self.patients)

    def __getitem__(self, place: int) -> Data:
        if place in self._cache:
            return self._cache[place]
        patient = self.patients[place]
        features, slides, edges, lengths, start = [], [], [], [], 0
        for number, path in enumerate(patient.features):
            found = read_features(path)
            features.append(found.features)
            slides.append(np.full(len(found.features), number))
            if self.graph is not None:
                try:
                    found_edges = self.graph(found.features, found.coords)
                except InputError as error:
                    raise InputError(f"{path}: {error}") from error
                edges.append(found_edges + start)
                lengths.append(edge_lengths(found_edges, found.coords))
            start += len(found.features)
        bag = Data(
            x=torch.from_numpy(np.concatenate(features)),
            slide=torch.from_numpy(np.concatenate(slides)),
            time=torch.tensor([patient.time], dtype=torch.float64),
            event=torch.tensor([patient.event], dtype=torch.float64),
            place=torch.tensor([place]),
        )
        if edges:
            bag.edge_index = torch.from_numpy(np.concatenate(edges, 1))
            bag.edge_length = torch.from_numpy(np.concatenate(lengths))
        size = sum(value.nbytes for value in bag.to_dict().values())
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._cache[place] = bag
        return bag

    @property
    def times(self) -> np.ndarray:
        """(P,) float64, time of each patient."""
        return np.array([patient.time for patient in self.patients], np.float64)

    @property
    def events(self) -> np.ndarray:
        """(P,) int64, 1 = died."""
        return np.array([patient.event for patient in self.patients], np.int64)


class EventBatches(Sampler[list[int]]):
    """Shuffled batches with evenly distributed deaths: a Cox step without deaths would learn nothing.

    Args:
        events: (P,) 1 = died, for the patients to draw from.
        batch_size: approximate number of patients per step; the sizes of the batches of an epoch differ by one or two.
        seed: together with the epoch (see ``set_epoch``) it determines the order.

    Raises:
        InputError: the batch size is below two; a batch of one patient allows no comparison.
    """

    def __init__(self, events: np.ndarray, batch_size: int, seed: int = 0) -> None:
        if batch_size < 2:
            raise InputError(f"batch_size must be at least 2, not {batch_size}: a step compares patients")
        self.events, self.seed, self.epoch = np.asarray(events), seed, 0
        self.count = max(1, round(len(self.events) / batch_size))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration, so that a resumed run shuffles like an uninterrupted run."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        deaths, others = (rng.permutation(np.flatnonzero(self.events == kind)) for kind in (1, 0))
        dealt = np.concatenate((deaths, others))
        for batch in range(self.count):
            yield dealt[batch :: self.count].tolist()
