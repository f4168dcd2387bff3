"""The survival cohort: folds by event, patient and site, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.data import PatientData
from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget


def survival_data(manifest: Path, **settings) -> PatientData:
    return PatientData(manifest, [SurvivalTarget()], **settings)


def write_manifest(folder: Path, count: int = 24, **columns: list[object]) -> Path:
    """One tile a patient; half of them died, early."""
    for n in range(count):
        write_features(folder / f"s{n}.h5", np.full((1, 2), n))
    cells = {
        "image": [f"s{n}.h5" for n in range(count)],
        "patient": [f"p{n}" for n in range(count)],
        "time": [5 + n if n % 2 else 40 + n for n in range(count)],
        "event": [n % 2 for n in range(count)],
        "features": [f"s{n}.h5" for n in range(count)],
        **columns,
    }
    with (folder / "m.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(cells)
        writer.writerows(zip(*cells.values(), strict=True))
    return folder / "m.csv"


def write_bad_features(folder: Path) -> None:
    """no_tile.h5, and nan.h5 of three tiles."""
    for name, features in (("no_tile", np.empty((0, 2))), ("nan", np.array([[0, 1], [np.nan, 2], [3, 4]]))):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["features"] = features


def test_folds_are_stratified_by_event_and_grouped_by_patient(tmp_path: Path) -> None:
    patients = [f"p{n // 2}" for n in range(24)]  # two slides each
    data = survival_data(
        write_manifest(
            tmp_path, patient=patients, event=[n // 2 % 2 for n in range(24)], time=[9 - n // 2 % 2 for n in range(24)]
        )
    )
    assert len(data.patients) == 12
    folds = data.folds(3, seed=0)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(12))
    assert all(data.values(data.targets[0])[fold.test, 1].sum() == 2 for fold in folds)


def test_whole_sites_stay_apart(tmp_path: Path) -> None:
    sites = [f"h{n // 4}" for n in range(24)]
    data = survival_data(write_manifest(tmp_path, hospital=sites), site_column="hospital")
    hospital = [patient.columns["hospital"] for patient in data.patients]
    assert sorted(hospital) == sorted(sites)
    for fold in data.folds(3, seed=0):
        tested = {hospital[n] for n in fold.test}
        assert tested.isdisjoint({hospital[n] for n in [*fold.train, *fold.val]})


def test_folds_of_the_manifest_are_used_and_can_be_passed_over(tmp_path: Path) -> None:
    given = [n // 2 % 4 for n in range(24)]
    data = survival_data(write_manifest(tmp_path, fold=given))
    folds = [patient.fold for patient in data.patients]
    assert [[folds[n] for n in fold.test] for fold in data.folds(5, 0)] == [[f] * 6 for f in range(4)]
    assert len(data.folds(5, 0, use_manifest_folds=False)) == 5


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"fold": [n % 2 for n in range(24)]}, {}, "fold 0, test patients: no events among its 12 patients"),
        ({"event": [1, 2] * 12}, {}, r"line 3: event must be 1 \(died\) or 0"),
        ({"time": ["soon"] + [4] * 23}, {}, "line 2: time must be a number above 0, not 'soon'"),
        ({"event": [(n + 1) % 2 for n in range(24)]}, {}, "the other way round"),
        ({"event": [1] * 2 + [0] * 22, "time": [9] * 24}, {}, "2 patients died, too few for 3 folds"),
        (
            {"age": ["61", "unknown"] * 12},
            {"clinical_columns": ["age"]},
            "column 'age' holds 12 numbers and also words",
        ),
        ({"features": ["no_tile.h5"] * 24}, {}, "no slide can be used; the first skipped: s0: .*at least one tile"),
        ({}, {"site_column": "site"}, "column 'site' missing"),
        ({"site": ["a"] * 23 + [""]}, {"site_column": "site"}, "patient 'p23' has no site"),
        (
            {"features": [""] * 24},
            {"pretrained": "none.pt"},
            "24 rows have no features, and there is no pretrained model",
        ),
    ],
)
def test_bad_cohorts_are_refused_in_one_line(tmp_path: Path, columns: dict, settings: dict, message: str) -> None:
    write_bad_features(tmp_path)
    data = survival_data(write_manifest(tmp_path, **columns), **settings)
    with pytest.raises(InputError, match=message) as caught:
        data.folds(3, 0)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        _ = survival_data(tmp_path / "none.csv").bags


def test_rows_that_are_left_out_are_named(tmp_path: Path) -> None:
    names = [f"s{n}.h5" for n in range(23)] + ["gone.h5"]
    data = survival_data(write_manifest(tmp_path, features=names))
    assert len(data.patients) == 23
    assert [what for what in data.skipped] == ["m.csv line 25"]
    assert "gone.h5" in data.skipped["m.csv line 25"]


def test_features_that_cannot_be_used_leave_their_slide_out_before_training(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    write_features(tmp_path / "s3.h5", np.full((2, 2), np.nan))
    (tmp_path / "s4.h5").write_bytes(b"no HDF5")
    with h5py.File(tmp_path / "s5.h5", "w") as file:
        file["features"] = np.array([[b"a", b"b"]])
    with h5py.File(tmp_path / "s6.h5", "w") as file:
        file["features"] = np.zeros((0, 2))
    data = survival_data(manifest)
    assert {patient.id for patient in data.patients} == {f"p{n}" for n in range(24) if n not in (3, 4, 5, 6)}
    assert list(data.skipped) == [f"{what}{n}" for what in ("s", "patient p") for n in (3, 4, 5, 6)]
    assert all(reason and "\n" not in reason for reason in data.skipped.values())
    assert len(data.bags[0].x) == 1


def test_bad_slides_and_their_patients_are_left_out_and_named_before_training(tmp_path: Path) -> None:
    write_bad_features(tmp_path)
    features = ["nan.h5", "no_tile.h5", "no_tile.h5", *(f"s{n}.h5" for n in range(3, 24))]
    patients = ["p0", "p1", "p1", *(f"p{n}" for n in range(3, 23)), "p0"]
    outcome = {"time": [9] * 24, "event": [int(patient in ("p0", "p3", "p4", "p5")) for patient in patients]}
    data = survival_data(write_manifest(tmp_path, patient=patients, features=features, **outcome))
    assert {patient.id: len(patient.features) for patient in data.patients} == {f"p{n}": 1 for n in (0, *range(3, 23))}
    assert list(data.skipped) == ["s0", "s1", "s2", "patient p1"]
    assert "1 of 3 tiles are not finite" in data.skipped["s0"] and "at least one tile" in data.skipped["s1"]
    assert data.skipped["patient p1"] == "none of its slides can be used"
    assert all(np.isfinite(bag.x).all() for bag in data.bags)


def test_patients_without_an_outcome_are_left_out_and_gaps_are_filled(tmp_path: Path) -> None:
    patients = [f"p{n // 2}" for n in range(24)]
    time = [("" if n % 2 else 9 - n % 4 // 2) for n in range(24)]
    event = [("NA" if n % 2 else n % 4 // 2) for n in range(24)]
    time[4], event[6] = "NA", ""
    time[8] = time[9] = 0
    data = survival_data(write_manifest(tmp_path, patient=patients, time=time, event=event))
    assert {patient.id for patient in data.patients} == {"p0", "p1", *(f"p{n}" for n in range(5, 12))}
    assert all(len(patient.features) == 2 for patient in data.patients)
    assert [next(name for name in ("p2", "p3", "p4") if name in why) for why in data.skipped.values()] == [
        "p2",
        "p3",
        "p4",
        "p4",
    ]


def test_all_faults_of_a_line_are_told(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, features=["gone.h5", *(f"s{n}.h5" for n in range(1, 24))])
    path.write_text(path.read_text().replace("s0.h5,p0", "none.svs,p0"))
    data = survival_data(path)
    assert len(data.patients) == 23
    assert all(name in data.skipped["m.csv line 2"] for name in ("none.svs", "gone.h5"))


def test_a_slide_that_is_no_slide_is_named_though_another_s_name_begins_like_it(tmp_path, monkeypatch) -> None:
    """t1 is a plain tile, and t10 a broken image."""
    from hmgdm_monai.saving import encoder_file as pretrained
    from hmgdm_monai.tasks.inference import embed
    from hmgdm_monai.tasks.inference.embedded import Embedded

    path = write_manifest(tmp_path, features=["", "", *(f"s{n}.h5" for n in range(2, 24))])
    for name in ("t1.png", "t10.png"):
        (tmp_path / name).touch()
    path.write_text(path.read_text().replace("s0.h5,p0", "t1.png,p0").replace("s1.h5,p1,", "t10.png,p1,"))
    (tmp_path / "model.pt").touch()

    class Embedding:
        jobs = ()
        result = Embedded(skipped={"t10": "broken"})

        def __init__(self, *_, **__): ...

    class Encoder:
        run_settings = {}

        def to(self, _):
            return self

    monkeypatch.setattr(embed, "CohortEmbedding", Embedding)
    monkeypatch.setattr(pretrained, "load_encoder", lambda _: Encoder())
    monkeypatch.setattr("hmgdm_monai.preparation.recipe.recipe_of", lambda _: None)
    data = survival_data(path, pretrained=tmp_path / "model.pt")
    assert len(data.patients) == 22
    assert set(data.skipped) == {"t1", "t10", "patient p0", "patient p1"}
