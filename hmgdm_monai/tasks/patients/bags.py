"""Patient bags: the tiles of all slides of a patient, as one graph whose vertices are tiles."""

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
from hmgdm_monai.transforms.tile_graph import TileGraph


@dataclass(frozen=True)
class Patient:
    """One patient of a cohort.

    Attributes:
        id: as the manifest names them.
        time: to death or last sight. event: 1 = died, 0 = censored.
        features: the features file of each of their slides.
        fold: cross-validation fold of the manifest; None without.
        columns: further cells of the manifest by name, of the patient's first row that fills them.
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
    """The patients of a manifest, in the order in which they first appear.

    Args:
        rows: with time and event, in which the rows of a patient agree (the manifest sees to it).
        features: features file by row id; rows without one are left out.
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

    ``x`` (M, D) features of all tiles, ``slide`` (M,) the number of the slide within the patient, ``time`` (1,) and
    ``event`` (1,) float64, ``place`` (1,) the patient's number in the data set; with a tile graph also ``edge_index``
    (2, E), which never joins two slides. PyG's loader collates bags of unequal size by concatenation, with a ``batch``
    vector (N,); nothing is padded.

    Bags are kept in memory up to ``cache_bytes``, edges with them; beyond, they are read, and their edges sought, anew.

    Args:
        patients: in order. graph: makes the edges; None for none. cache_bytes: 0 keeps nothing.

    Attributes:
        num_features: D.

    Raises:
        InputError: no patients, a features file that can not be used, or one with another number of channels.
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
        features, slides, edges, start = [], [], [], 0
        for number, path in enumerate(patient.features):
            found = read_features(path)
            features.append(found.features)
            slides.append(np.full(len(found.features), number))
            if self.graph is not None:
                try:
                    edges.append(self.graph(found.features, found.coords) + start)
                except InputError as error:
                    raise InputError(f"{path}: {error}") from error
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
        size = sum(value.nbytes for value in bag.to_dict().values())
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._cache[place] = bag
        return bag

    @property
    def times(self) -> np.ndarray:
        """(P,) float64."""
        return np.array([patient.time for patient in self.patients], np.float64)

    @property
    def events(self) -> np.ndarray:
        """(P,) int64, 1 = died."""
        return np.array([patient.event for patient in self.patients], np.int64)


class EventBatches(Sampler[list[int]]):
    """Shuffled batches with the deaths dealt evenly among them: a Cox step without deaths would learn nothing.

    Args:
        events: (P,) 1 = died, of the patients to draw from.
        batch_size: patients a step, about: all batches of an epoch differ by one or two at most.
        seed: with the epoch (see ``set_epoch``) it fixes the order.

    Raises:
        InputError: a batch of fewer than two patients, of which none could be compared.
    """

    def __init__(self, events: np.ndarray, batch_size: int, seed: int = 0) -> None:
        if batch_size < 2:
            raise InputError(f"batch_size must be at least 2, not {batch_size}: a step compares patients")
        self.events, self.seed, self.epoch = np.asarray(events), seed, 0
        self.count = max(1, round(len(self.events) / batch_size))

    def set_epoch(self, epoch: int) -> None:
        """Of the next iteration; so that a resumed run shuffles as an uninterrupted one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        deaths, others = (rng.permutation(np.flatnonzero(self.events == kind)) for kind in (1, 0))
        dealt = np.concatenate((deaths, others))
        for batch in range(self.count):
            yield dealt[batch :: self.count].tolist()
