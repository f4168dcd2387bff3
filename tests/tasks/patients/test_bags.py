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
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags, group_patients
from hmgdm_monai.tasks.patients.batches import StratifiedBatches
from hmgdm_monai.transforms.tile_graph import TileGraph


@pytest.fixture
def patients(tmp_path: Path) -> list[Patient]:
    """Three patients with 1, 2 and 1 slides of 4, 3 + 6 and 1 tiles."""
    rng = np.random.default_rng(0)
    paths = [
        write_features(tmp_path / f"{n}.h5", rng.normal(size=(n, 5)), rng.integers(0, 99, (n, 2))) for n in (4, 3, 6, 1)
    ]
    return [
        Patient("a", ((paths[0],),), {"event": (3.0, 1.0)}),
        Patient("b", ((paths[1],), (paths[2],)), {"event": (5.0, 0.0), "age": (61.0,)}),
        Patient("c", ((paths[3],),), {"event": (1.0, 1.0)}),
    ]


def test_rows_of_a_patient_become_one(tmp_path: Path) -> None:
    rows = [
        ManifestRow(tmp_path / f"{name}.svs", patient, line, fold=0, folder=tmp_path)
        for line, (name, patient) in enumerate([("s1", "a"), ("s2", "b"), ("s3", "a"), ("s4", "c")], start=2)
    ]
    features = {f"s{n}": (tmp_path / f"s{n}.h5",) for n in (1, 2, 3)}
    found = group_patients(
        rows, features, {"age": {"a": (61.0,)}}, {2: {"age": ""}, 3: {"age": "50"}, 4: {"age": "61"}}
    )
    assert [patient.id for patient in found] == ["a", "b"]  # c has no features
    assert found[0].features == ((tmp_path / "s1.h5",), (tmp_path / "s3.h5",))
    assert found[0].columns == {"age": "61"} and [patient.values for patient in found] == [{"age": (61.0,)}, {}]


def test_batches_are_concatenations_and_edges_stay_within_slides(patients: list[Patient]) -> None:
    bags = PatientBags(patients, TileGraph(2, 2))
    batch = next(iter(DataLoader(bags, batch_size=3)))
    assert batch.x.shape == (14, 5) and batch.num_graphs == 3
    assert batch.batch.tolist() == [0] * 4 + [1] * 9 + [2]
    assert batch.place.tolist() == [0, 1, 2]
    assert bags.values("event", 2).tolist() == [[3, 1], [5, 0], [1, 1]]
    np.testing.assert_array_equal(bags.values("age", 1), [[np.nan], [61], [np.nan]])
    start, end = batch.edge_index
    assert batch.edge_length.shape == start.shape and batch.edge_length.isfinite().all()
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
        PatientBags([*patients, Patient("d", ((other,),))])
    with pytest.raises(InputError, match="other.h5: these features have no coords"):
        PatientBags([Patient("d", ((other,),))], TileGraph())[0]
    with pytest.raises(InputError, match="no patient"):
        PatientBags([])


def test_deaths_are_dealt_evenly_and_every_patient_comes_once() -> None:
    events = np.zeros(50, int)
    events[:7] = 1
    sampler = StratifiedBatches(events, 16, seed=1)
    sampler.set_epoch(3)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 3
    assert sorted(np.concatenate(batches)) == list(range(50))
    assert sorted(events[batch].sum() for batch in batches) == [2, 2, 3]
    assert batches == list(sampler)
    sampler.set_epoch(4)
    assert batches != list(sampler)
