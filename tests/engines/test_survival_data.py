"""The survival cohort: folds by event, patient and site, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from hmgdm_monai.data.features_file import write_features
from hmgdm_monai.engines.survival_data import SurvivalData
from hmgdm_monai.errors import InputError


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


def test_folds_are_stratified_by_event_and_grouped_by_patient(tmp_path: Path) -> None:
    patients = [f"p{n // 2}" for n in range(24)]  # two slides each
    data = SurvivalData(
        write_manifest(
            tmp_path, patient=patients, event=[n // 2 % 2 for n in range(24)], time=[9 - n // 2 % 2 for n in range(24)]
        )
    )
    assert len(data.patients) == 12
    folds = data.folds(3, seed=0)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(12))
    assert all(data.bags.events[fold.test].sum() == 2 for fold in folds)


def test_whole_sites_stay_apart(tmp_path: Path) -> None:
    sites = [f"h{n // 4}" for n in range(24)]
    data = SurvivalData(write_manifest(tmp_path, hospital=sites), site_column="hospital")
    for fold in data.folds(3, seed=0):
        tested = {sites[n] for n in fold.test}
        assert tested.isdisjoint({sites[n] for n in [*fold.train, *fold.val]})


def test_folds_of_the_manifest_are_used_and_can_be_passed_over(tmp_path: Path) -> None:
    given = [n // 2 % 4 for n in range(24)]
    data = SurvivalData(write_manifest(tmp_path, fold=given))
    assert [[given[n] for n in fold.test] for fold in data.folds(5, 0)] == [[f] * 6 for f in range(4)]
    assert len(data.folds(5, 0, use_manifest_folds=False)) == 5


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"fold": [n % 2 for n in range(24)]}, {}, "fold 0 has no events among its 12 test patients"),
        ({"event": [1, 2] * 12}, {}, r"line 3: event must be 1 \(died\) or 0"),
        ({"time": [0] + [4] * 23}, {}, "line 2: time must be a number above 0"),
        ({"event": [(n + 1) % 2 for n in range(24)]}, {}, "the other way round"),
        ({"event": [1] * 2 + [0] * 22, "time": [9] * 24}, {}, "2 patients died, too few for 3 folds"),
        ({}, {"site_column": "site"}, "column 'site' missing; those there are"),
        ({"site": ["a"] * 23 + [""]}, {"site_column": "site"}, "patient 'p23' has no site"),
        (
            {"features": [""] * 24},
            {"pretrained": "none.pt"},
            "24 rows have no features, and there is no pretrained model",
        ),
    ],
)
def test_bad_cohorts_are_refused_in_one_line(tmp_path: Path, columns: dict, settings: dict, message: str) -> None:
    data = SurvivalData(write_manifest(tmp_path, **columns), **settings)
    with pytest.raises(InputError, match=message) as caught:
        data.folds(3, 0)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such manifest"):
        _ = SurvivalData(tmp_path / "none.csv").bags


def test_rows_that_are_left_out_are_named(tmp_path: Path) -> None:
    names = [f"s{n}.h5" for n in range(23)] + ["gone.h5"]
    data = SurvivalData(write_manifest(tmp_path, features=names))
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
    data = SurvivalData(manifest)
    assert [patient.id for patient in data.patients] == [f"p{n}" for n in range(24) if n not in (3, 4, 5, 6)]
    assert set(data.skipped) == {"s3", "s4", "s5", "s6"}
    assert all(reason and "\n" not in reason for reason in data.skipped.values())
    assert len(data.bags[0].x) == 1
