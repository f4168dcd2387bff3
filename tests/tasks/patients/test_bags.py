"""Patient bags: slides of a patient together, bags of any size side by side, deaths in every batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.bags import EventBatches, Patient, PatientBags, group_patients
from hmgdm_monai.transforms.tile_graph import TileGraph


@pytest.fixture
def patients(tmp_path: Path) -> list[Patient]:
    """Three patients with 1, 2 and 1 slides of 4, 3 + 6 and 1 tiles."""
    rng = np.random.default_rng(0)
    paths = [
        write_features(tmp_path / f"{n}.h5", rng.normal(size=(n, 5)), rng.integers(0, 99, (n, 2))) for n in (4, 3, 6, 1)
    ]
    return [
        Patient("a", 3.0, 1, (paths[0],)),
        Patient("b", 5.0, 0, (paths[1], paths[2])),
        Patient("c", 1.0, 1, (paths[3],)),
    ]


def test_rows_of_a_patient_become_one(tmp_path: Path) -> None:
    rows = [
        ManifestRow(tmp_path / f"{name}.svs", patient, line, time=2.0, event=1, fold=0, folder=tmp_path)
        for line, (name, patient) in enumerate([("s1", "a"), ("s2", "b"), ("s3", "a"), ("s4", "c")], start=2)
    ]
    features = {f"s{n}": tmp_path / f"s{n}.h5" for n in (1, 2, 3)}
    found = group_patients(rows, features, {2: {"age": ""}, 3: {"age": "50"}, 4: {"age": "61"}})
    assert [patient.id for patient in found] == ["a", "b"]  # c has no features
    assert found[0].features == (tmp_path / "s1.h5", tmp_path / "s3.h5")
    assert found[0].columns == {"age": "61"}


def test_batches_are_concatenations_and_edges_stay_within_slides(patients: list[Patient]) -> None:
    bags = PatientBags(patients, TileGraph(2, 2))
    batch = next(iter(DataLoader(bags, batch_size=3)))
    assert batch.x.shape == (14, 5) and batch.num_graphs == 3
    assert batch.batch.tolist() == [0] * 4 + [1] * 9 + [2]
    assert batch.time.tolist() == [3, 5, 1] and batch.event.tolist() == [1, 0, 1] and batch.place.tolist() == [0, 1, 2]
    assert bags.times.tolist() == [3, 5, 1] and bags.events.tolist() == [1, 0, 1]
    start, end = batch.edge_index
    assert (batch.batch[start] == batch.batch[end]).all() and (batch.slide[start] == batch.slide[end]).all()
    assert set(end.tolist()) == set(range(13))  # each tile has neighbors, but for the lone one


def test_the_cache_changes_nothing(patients: list[Patient]) -> None:
    kept, fresh = PatientBags(patients, TileGraph(2, 2)), PatientBags(patients, TileGraph(2, 2), cache_bytes=0)
    for place in (0, 1, 1, 2):
        one, other = kept[place], fresh[place]
        assert torch.equal(one.x, other.x) and torch.equal(one.edge_index, other.edge_index)
    assert kept[1] is kept[1] and fresh[1] is not fresh[1]


def test_unequal_channels_and_missing_coords_are_refused(patients: list[Patient], tmp_path: Path) -> None:
    other = write_features(tmp_path / "other.h5", np.ones((2, 7)))
    with pytest.raises(InputError, match="other.h5: 7 channels, but .*4.h5 has 5"):
        PatientBags([*patients, Patient("d", 1.0, 0, (other,))])
    with pytest.raises(InputError, match="other.h5: these features have no coords"):
        PatientBags([Patient("d", 1.0, 0, (other,))], TileGraph())[0]
    with pytest.raises(InputError, match="no patient"):
        PatientBags([])


def test_deaths_are_dealt_evenly_and_every_patient_comes_once() -> None:
    events = np.zeros(50, int)
    events[:7] = 1
    sampler = EventBatches(events, 16, seed=1)
    sampler.set_epoch(3)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 3
    assert sorted(np.concatenate(batches)) == list(range(50))
    assert sorted(events[batch].sum() for batch in batches) == [2, 2, 3]
    assert batches == list(sampler)
    sampler.set_epoch(4)
    assert batches != list(sampler)
