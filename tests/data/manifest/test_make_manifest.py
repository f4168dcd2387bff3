"""A folder of slides, with what CLAM, TRIDENT and QuPath left, becomes a manifest that can be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hmgdm_monai.data.manifest.make_manifest import make_manifest
from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.errors import InputError

SLIDES = ["TCGA-AA-0001-01Z.svs", "sub/TCGA-AA-0001-02Z.SVS", "other one, b.tif"]


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def slides(tmp_path):
    for name in (*SLIDES, "notes.txt", ".hidden/c.svs"):
        touch(tmp_path / "slides" / name)
    return tmp_path / "slides"


def test_each_slide_is_a_patient_and_paths_count_from_the_csv(slides, tmp_path):
    count, notes = make_manifest(slides, tmp_path / "lists" / "cohort.csv")
    rows = read_manifest(tmp_path / "lists" / "cohort.csv", strict=True).rows
    assert (count, notes) == (3, [])
    assert sorted(row.image for row in rows) == sorted(slides / name for name in SLIDES)
    assert {row.patient for row in rows} == {"TCGA-AA-0001-01Z", "TCGA-AA-0001-02Z", "other one, b"}
    assert all(row.coords is None for row in rows)


@pytest.mark.parametrize("pattern", ["tcga", r"^(.{12})-0.Z", r"TCGA-AA-\d{4}"])
def test_patients_by_pattern(slides, tmp_path, pattern):
    count, notes = make_manifest(slides, tmp_path / "cohort.csv", patient=pattern)
    assert {row.patient for row in read_manifest(tmp_path / "cohort.csv").rows} == {"TCGA-AA-0001"}
    assert count == 2
    assert notes[0].startswith("other one, b.tif: left out, its name does not match")


@pytest.mark.parametrize(
    ("folder", "name", "given"),
    [
        ("clam/patches", "{stem}.h5", "clam"),
        ("clam/patches", "{stem}.h5", "clam/patches"),
        ("trident/20x_256px_0px_overlap/patches", "{stem}_patches.h5", "trident"),
        ("flat", "{stem}.h5", "flat"),
    ],
)
def test_coordinates_of_clam_and_trident(slides, tmp_path, folder, name, given):
    for slide in SLIDES[:2]:
        touch(tmp_path / folder / name.format(stem=Path(slide).stem))
    if "/" in folder:  # features stand beside the patches, under the same names
        touch(tmp_path / folder / f"../features_uni/{Path(SLIDES[0]).stem}.h5")
    count, notes = make_manifest(slides, tmp_path / "cohort.csv", coords=tmp_path / given)
    rows = read_manifest(tmp_path / "cohort.csv", strict=True).rows
    assert {row.image.name: row.coords.name for row in rows} == {
        Path(slide).name: name.format(stem=Path(slide).stem) for slide in SLIDES[:2]
    }
    assert all(row.coords.parent == tmp_path / folder for row in rows)
    assert count == 2
    assert notes == ["other one, b.tif: left out, it has no file of coords"]


def test_regions_with_classes(slides, tmp_path):
    touch(tmp_path / "regions/TCGA-AA-0001-01Z.geojson")
    touch(tmp_path / "regions/other one, b.tif.geojson")
    make_manifest(slides, tmp_path / "cohort.csv", regions=tmp_path / "regions", region_classes=["Tumor", "Stroma"])
    rows = read_manifest(tmp_path / "cohort.csv", strict=True).rows
    assert len(rows) == 2
    assert all(row.region_classes == ("Tumor", "Stroma") and row.regions is not None for row in rows)


def test_bad_input_is_one_clear_line(slides, tmp_path):
    with pytest.raises(InputError, match="no such folder of slides"):
        make_manifest(tmp_path / "none", tmp_path / "c.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no slide"):
        make_manifest(tmp_path / "empty", tmp_path / "c.csv")
    with pytest.raises(InputError, match="not a regular expression"):
        make_manifest(slides, tmp_path / "c.csv", patient="(")
    with pytest.raises(InputError, match="none of its 3 slides can be listed; the first: .*no file of coords"):
        make_manifest(slides, tmp_path / "c.csv", coords=tmp_path / "empty")
    for scale in ("10x", "20x"):
        touch(tmp_path / f"t/{scale}/patches/TCGA-AA-0001-01Z_patches.h5")
    with pytest.raises(InputError, match="more than one file of coords .*10x.*20x"):
        make_manifest(slides, tmp_path / "c.csv", coords=tmp_path / "t")
    touch(slides / "b/TCGA-AA-0001-01Z.tif")
    with pytest.raises(InputError, match="two slides are called TCGA-AA-0001-01Z"):
        make_manifest(slides, tmp_path / "c.csv", coords=tmp_path / "t/20x")
    assert not (tmp_path / "c.csv").exists()


def test_the_command(slides, tmp_path):
    script = Path(__file__).resolve().parents[3] / "scripts" / "make_manifest.py"

    def run(*arguments):
        return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)

    done = run("--slides", slides, "--output", tmp_path / "c.csv", "--patient", "tcga")
    assert done.returncode == 0
    assert done.stdout.strip().endswith("2 slides")
    assert "left out" in done.stderr
    failed = run("--slides", tmp_path / "none", "--output", tmp_path / "d.csv")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
