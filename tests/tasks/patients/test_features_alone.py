"""Cohorts without slides: features of several encoders, outcomes in columns of any name, bad files named first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.data import PatientData
from hmgdm_monai.tasks.patients.targets.classes import ClassTarget
from hmgdm_monai.tasks.patients.targets.numbers import NumberTarget
from hmgdm_monai.transforms.tile_graph import TileGraph

COORDS = np.array([[0, 0], [1, 0], [0, 1]])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve slides of eleven patients, by two encoders; the column time is of no concern to these targets."""
    rng, lines = np.random.default_rng(0), ["patient,features,kras,score,time"]
    for n in range(12):
        for encoder, channels in (("uni", 3), ("conch", 2)):
            order = rng.permutation(3)
            write_features(tmp_path / f"{encoder}/s{n}.h5", rng.normal(size=(3, channels)) + n, COORDS[order])
        patient, score = f"p{max(n, 1)}", "" if n in (0, 5) else n / 2
        lines.append(f"{patient},uni/s{n}.h5;conch/s{n}.h5,{'mutant' if n % 3 else 'wild'},{score},soon")
    lines[2] = lines[2].replace("mutant", "wild")  # both slides of p1
    (tmp_path / "m.csv").write_text("\n".join(lines))
    return tmp_path / "m.csv"


def test_slides_are_named_by_their_features_and_encoders_stand_side_by_side(manifest: Path) -> None:
    data = PatientData(manifest, [ClassTarget("kras"), NumberTarget("score")], graph=TileGraph(1, 1))
    assert len(data.patients) == 11 and data.bags.num_features == 5 and data.skipped == {}
    assert [len(patient.features) for patient in data.patients if patient.id == "p1"] == [2]
    assert data.without["score"] == {"p5": "has no score"}
    classes, numbers = (data.values(target) for target in data.targets)
    assert np.isfinite(classes).all() and np.isnan(numbers).sum() == 1
    # Each target has the same folds, without the patients that lack its outcome.
    for fold in data.folds(3, 0):
        there = data.fold_of(data.targets[1], fold)
        for side, whole in ((there.train, fold.train), (there.val, fold.val), (there.test, fold.test)):
            assert side.tolist() == [place for place in whole if data.patients[place].id != "p5"]


def test_a_patient_without_any_outcome_is_named(manifest: Path) -> None:
    data = PatientData(manifest, [NumberTarget("score")])
    assert len(data.patients) == 10 and data.skipped == {"patient p5": "has no score"}
    with pytest.raises(InputError, match="patient 'p5' has no score"):
        _ = PatientData(manifest, [NumberTarget("score")], strict_manifest=True).bags


def test_files_that_cannot_be_joined_leave_their_slide_out_before_training(manifest: Path) -> None:
    folder = manifest.parent
    write_features(folder / "conch/s3.h5", np.ones((2, 2)))
    write_features(folder / "conch/s4.h5", np.ones((3, 2)), COORDS + 7)
    torch.save(torch.full((3, 3), float("inf")), folder / "uni/s6.pt")
    manifest.write_text(manifest.read_text().replace("uni/s6.h5", "uni/s6.pt"))
    data = PatientData(manifest, [ClassTarget("kras")])
    assert {patient.id for patient in data.patients} == {f"p{n}" for n in (1, 2, 5, 7, 8, 9, 10, 11)}
    assert "2 tiles, but" in data.skipped["s3"] and "lie elsewhere" in data.skipped["s4"]
    assert "of 3 of 3 tiles are not finite" in data.skipped["s6"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (ClassTarget("egfr"), "column 'egfr' missing"),
        (ClassTarget("patient"), "has class"),
        (NumberTarget("kras"), "no patient has a number in column 'kras'; the first kras must be a number"),
        (ClassTarget("kras", ["a", "b"]), "no patient has one of the classes a, b"),
    ],
)
def test_columns_that_cannot_be_predicted_are_refused_in_one_line(
    target: ClassTarget | NumberTarget, message: str, manifest: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        PatientData(manifest, [target]).folds(3, 0)
    assert "\n" not in str(caught.value)
