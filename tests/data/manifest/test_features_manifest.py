"""Features of CLAM, TRIDENT and STAMP with a table of outcomes become a manifest that can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmgdm_monai.data.manifest.features_manifest import make_features_manifest
from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.errors import InputError

LAYOUTS = {
    "clam": ("h5_files/{}.h5", "pt_files/{}.pt"),
    "clam tensors": ("pt_files/{}.pt",),
    "trident": ("20x_256px_0px_overlap/features_uni/{}.h5", "20x_256px_0px_overlap/patches/{}_patches.h5"),
    "stamp": ("{}.h5",),
}
SLIDES = ("TCGA-AA-0001-01Z-00-DX1.A1B2", "TCGA-AA-0001-01Z-00-DX2.C3", "TCGA-BB-0002-01Z-00-DX1.D4")


def lay(folder: Path, layout: str, slides: tuple[str, ...] = SLIDES) -> Path:
    for pattern in LAYOUTS[layout]:
        for slide in slides:
            path = folder / layout / pattern.format(slide)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder / layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_slides_are_matched_to_the_table_by_name(layout: str, tmp_path: Path) -> None:
    table = tmp_path / "outcomes.csv"
    lines = [f"C{n // 2},{slide}.svs,{'ab'[n // 2]}" for n, slide in enumerate(SLIDES)]
    table.write_text("\n".join(["case_id,slide_id,grade", *lines, "C9,gone.svs,a"]))
    output = tmp_path / "lists/cohort.csv"
    count, notes = make_features_manifest([lay(tmp_path, layout)], output, table, "slide_id", "case_id")
    assert count == 3 and notes == [f"{table} line 5: left out, there are no features for it"]
    rows = read_manifest(output, strict=True, without_image=("features",)).rows
    assert [(row.patient, row.slide, row.id) for row in rows] == [
        (f"C{n // 2}", slide, slide) for n, slide in enumerate(SLIDES)
    ]
    expected = tmp_path / layout / LAYOUTS[layout][0].format(SLIDES[0])
    assert rows[0].features == (expected,) and output.read_text().splitlines()[0] == "patient,slide,features,grade"


def test_several_encoders_and_outcomes_by_patient(tmp_path: Path) -> None:
    folders = [lay(tmp_path, "clam"), lay(tmp_path, "stamp", SLIDES[:2])]
    table = tmp_path / "outcomes.csv"
    table.write_text("patient,os\nTCGA-AA-0001,5\nTCGA-BB-0002,6\n")
    count, notes = make_features_manifest(folders, tmp_path / "c.csv", table, patient="tcga")
    assert count == 2 and notes[0] == f"{SLIDES[2]}: left out, it has no features in {folders[1]}"
    rows = read_manifest(tmp_path / "c.csv", without_image=("features",)).rows
    assert {row.patient for row in rows} == {"TCGA-AA-0001"} and [len(row.features) for row in rows] == [2, 2]


def test_without_a_table_each_slide_is_a_patient(tmp_path: Path) -> None:
    assert make_features_manifest([lay(tmp_path, "stamp")], tmp_path / "c.csv") == (3, [])
    rows = read_manifest(tmp_path / "c.csv", without_image=("features",)).rows
    assert [row.patient for row in rows] == list(SLIDES)


def test_what_cannot_be_matched_is_told_in_one_line(tmp_path: Path) -> None:
    table, output = tmp_path / "t.csv", tmp_path / "c.csv"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no features"):
        make_features_manifest([tmp_path / "empty"], output)
    lay(tmp_path, "trident")
    (tmp_path / "trident/20x_256px_0px_overlap/features_conch").mkdir()
    with pytest.raises(InputError, match="several encoders"):
        make_features_manifest([tmp_path / "trident"], output)
    folder = lay(tmp_path, "stamp")
    for text, message in (
        ("case,slide_id\nC,x", "has neither column 'slide' nor 'patient'"),
        ("slide\nx\nx.svs", "line 3: 'x' was already named in line 2"),
        ("slide\nx", "no slide can be listed; the first"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            make_features_manifest([folder], output, table)
    assert not output.exists()
