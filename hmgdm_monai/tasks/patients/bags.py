"""Patient bags: all tiles of all slides of a patient, as one graph whose vertices are tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from torch_geometric.data import Data

from hmgdm_monai.data.files.joined_features import joined_channels, read_joined_features
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.tile_graph import TileGraph, edge_lengths


@dataclass(frozen=True)
class Patient:
    """One patient of a cohort.

    Attributes:
        id: id in the manifest.
        features: for each of the patient's slides its features files, one for each encoder.
        values: outcome by name of the target; a target that the patient has no outcome of is missing.
        fold: cross-validation fold from the manifest; None without.
        columns: further cells of the manifest by column name; each from the first row of the patient that has a value.
    """

    id: str
    features: tuple[tuple[Path, ...], ...]
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    fold: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def group_patients(
    rows: Sequence[ManifestRow],
    features: Mapping[str, tuple[Path, ...]],
    values: Mapping[str, Mapping[str, tuple[float, ...]]],
    columns: Mapping[int, Mapping[str, str]] | None = None,
) -> list[Patient]:
    """Return the patients of a manifest, in the order in which they first appear.

    Args:
        rows: rows of the manifest.
        features: features files by row id; rows without any are skipped.
        values: outcome by patient, by name of the target.
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
        outcomes = {target: found[name] for target, found in values.items() if name in found}
        paths = tuple(features[row.id] for row in theirs)
        patients.append(Patient(name, paths, outcomes, theirs[0].fold, cells))
    return patients


def outcomes_of(patients: Sequence[Patient], target: str, size: int) -> np.ndarray:
    """Return the outcomes (P, V) float64 of a target; nan for patients without one.

    Args:
        patients: the patients.
        target: name of the target.
        size: number of numbers V of an outcome.
    """
    nothing = (np.nan,) * size
    return np.array([patient.values.get(target, nothing) for patient in patients], np.float64).reshape(-1, size)


class PatientBags(Dataset):
    """One :class:`torch_geometric.data.Data` for each patient.

    Its fields are ``x`` (M, D), the features of all tiles; ``slide`` (M,), the number of the slide within the patient;
    and ``place`` (1,), the index of the patient in the data set, by which outcomes are looked up. With a tile graph
    there are also ``edge_index`` (2, E), whose edges never join two slides, and ``edge_length`` (E,), see
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
        channels = joined_channels(first)
        self.num_features = sum(channels)
        for patient in self.patients:
            for paths in patient.features:
                if (found := joined_channels(paths)) != channels:
                    shown, wanted = (" + ".join(map(str, one)) for one in (found, channels))
                    raise InputError(
                        f"{paths[0]}: {shown} channels, but {first[0]} has {wanted}; use the same encoders for all"
                    )

    def __len__(self) -> int:
        return len(self.patients)

    def __getitem__(self, place: int) -> Data:
        if place in self._cache:
            return self._cache[place]
        patient = self.patients[place]
        features, slides, edges, lengths, start = [], [], [], [], 0
        for number, paths in enumerate(patient.features):
            found = read_joined_features(paths)
            features.append(found.features)
            slides.append(np.full(len(found.features), number))
            if self.graph is not None:
                try:
                    found_edges = self.graph(found.features, found.coords)
                except InputError as error:
                    raise InputError(f"{paths[0]}: {error}") from error
                edges.append(found_edges + start)
                lengths.append(edge_lengths(found_edges, found.coords))
            start += len(found.features)
        bag = Data(
            x=torch.from_numpy(np.concatenate(features)),
            slide=torch.from_numpy(np.concatenate(slides)),
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

    def values(self, target: str, size: int) -> np.ndarray:
        """Return the outcomes (P, V) float64 of a target; nan for patients without one.

        Args:
            target: name of the target.
            size: number of numbers V of an outcome.
        """
        return outcomes_of(self.patients, target, size)
