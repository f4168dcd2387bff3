"""The demo cohort's folder: reproducible, resumable, honest about other settings."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from hmgdm_monai.data.demo import LABELS, TISSUES, cohort, make_demo_cohort
from hmgdm_monai.errors import InputError

SMALL = {"seed": 0, "n_patients": 4, "slide_px": 512, "mpp": 1.0}
SCRIPT = Path(__file__).parents[3] / "scripts" / "make_demo_cohort.py"


def _bytes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "cohort"
    make_demo_cohort(folder, **SMALL)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "cohort"))


def test_manifests_have_the_columns_and_name_files_that_exist(whole):
    slides, tiles, truth = (_rows(whole / f"{name}.csv") for name in ("slides", "tiles", "truth"))
    assert list(slides[0]) == ["image", "patient", "label", "time", "event", "fold"]
    assert list(tiles[0]) == ["image", "patient", "label", "fold", "mpp"]
    assert list(truth[0]) == ["patient", "label", "log_hazard", *(f"share_{tissue}" for tissue in TISSUES)]
    assert [row["patient"] for row in slides] == [row["patient"] for row in truth]
    assert len({row["patient"] for row in slides}) == 4
    folds = {row["patient"]: row["fold"] for row in slides}
    for row in slides:
        assert row["label"] in LABELS
        assert float(row["time"]) > 0
        assert row["event"] in ("0", "1")
    for row in tiles:
        assert row["label"] in TISSUES
        assert row["fold"] == folds[row["patient"]]
        assert float(row["mpp"]) == 1.0
    listed = {row["image"] for row in slides + tiles}
    assert listed == {name for name in _bytes(whole) if name.startswith(("slides/", "tiles/"))}
    assert "SYNTHETIC" in (whole / "README.txt").read_text()


def test_tiles_are_crops_of_the_slide(whole):
    row = _rows(whole / "tiles.csv")[0]
    tile = np.asarray(Image.open(whole / row["image"]))
    assert tile.shape == (256, 256, 3)
    slide = tifffile.imread(whole / "slides" / f"{row['patient']}.tif", key=0)
    windows = np.lib.stride_tricks.sliding_window_view(slide[..., 0], (256, 256))[::16, ::16]
    assert (windows == tile[..., 0]).all((2, 3)).any()


def test_same_seed_same_bytes_other_seed_other_slides(whole, tmp_path):
    make_demo_cohort(tmp_path / "again", **SMALL)
    assert _bytes(tmp_path / "again") == _bytes(whole)
    make_demo_cohort(tmp_path / "other", **{**SMALL, "seed": 1, "n_patients": 1})
    name = "slides/patient_00.tif"
    assert _bytes(tmp_path / "other")[name] != _bytes(whole)[name]


def test_what_is_missing_is_redrawn_alike_and_the_rest_left_alone(whole, copy):
    (copy / "slides" / "patient_02.tif").unlink()
    (copy / _rows(copy / "tiles.csv")[0]["image"]).unlink()
    (copy / "slides.csv").unlink()
    kept = copy / "slides" / "patient_01.tif"
    written = kept.stat().st_mtime_ns
    make_demo_cohort(copy, **SMALL)
    assert _bytes(copy) == _bytes(whole)
    assert kept.stat().st_mtime_ns == written


def test_a_kill_in_the_middle_leaves_whole_files_and_is_resumed(whole, tmp_path, monkeypatch):
    written = []
    real_write = tifffile.TiffWriter.write

    def write_then_stop(self, *args, **kwargs):
        written.append(1)
        if len(written) == 5:  # the second level of the second slide
            raise KeyboardInterrupt
        return real_write(self, *args, **kwargs)

    monkeypatch.setattr(tifffile.TiffWriter, "write", write_then_stop)
    with pytest.raises(KeyboardInterrupt):
        make_demo_cohort(tmp_path / "cohort", **SMALL)
    monkeypatch.undo()
    left = _bytes(tmp_path / "cohort")
    assert left.items() <= _bytes(whole).items()
    assert [name for name in left if name.startswith("slides/")] == ["slides/patient_00.tif"]
    make_demo_cohort(tmp_path / "cohort", **SMALL)
    assert _bytes(tmp_path / "cohort") == _bytes(whole)


def test_a_larger_cohort_adds_to_a_smaller_one(whole, tmp_path):
    make_demo_cohort(tmp_path / "cohort", **{**SMALL, "n_patients": 2})
    make_demo_cohort(tmp_path / "cohort", **SMALL)
    assert _bytes(tmp_path / "cohort") == _bytes(whole)


@pytest.mark.parametrize("change", [{"seed": 1}, {"slide_px": 768}, {"mpp": 0.5}])
def test_other_settings_are_refused_by_name(copy, change):
    before = _bytes(copy)
    with pytest.raises(InputError, match="other settings") as caught:
        make_demo_cohort(copy, **{**SMALL, **change})
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _bytes(copy) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        make_demo_cohort(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(InputError, match="is a file"):
        make_demo_cohort(tmp_path / "thesis.txt", **SMALL)


@pytest.mark.parametrize(
    "change",
    [{"seed": -1}, {"n_patients": 0}, {"slide_px": 510}, {"slide_px": 252}, {"mpp": 0.0}, {"mpp": float("nan")}],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(tmp_path, change):
    with pytest.raises(InputError):
        make_demo_cohort(tmp_path / "cohort", **{**SMALL, **change})
    assert not (tmp_path / "cohort").exists()


def test_script_passes_its_settings_on_and_reports_bad_input(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("make_demo_cohort_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    size = ["--patients", "1", "--slide-px", "256", "--mpp", "1"]
    monkeypatch.setattr("sys.argv", [SCRIPT.name, "--output", str(tmp_path / "a"), "--seed", "3", *size])
    assert script.main() == 0
    assert len(_rows(tmp_path / "a" / "slides.csv")) == 1
    monkeypatch.setattr("sys.argv", [SCRIPT.name, "--output", str(tmp_path / "a"), "--seed", "4", *size])
    assert script.main() == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


def test_a_folder_drawn_by_other_rules_is_not_continued(copy, monkeypatch):
    monkeypatch.setattr(cohort, "_DRAWING", cohort._DRAWING + 1)
    with pytest.raises(InputError, match="other settings"):
        make_demo_cohort(copy, **SMALL)
