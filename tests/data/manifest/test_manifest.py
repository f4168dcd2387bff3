from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmgdm_monai.data.manifest.manifest import ManifestError, read_manifest
from hmgdm_monai.errors import InputError


@pytest.fixture
def write(tmp_path):
    (tmp_path / "slides").mkdir()
    for name in ("slides/a.svs", "slides/b.png", "c.jpg", "slides/a.h5", "d e.tif"):
        (tmp_path / name).touch()

    def write(text: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "cohort.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_full_row_is_read_as_typed(write):
    path = write(
        "image,patient,label,time,event,fold,mpp,features,remark\n"
        "slides/a.svs,P1,tumor,12.5,1,3,0.25,slides/a.h5,ignored\n"
        "slides/b.png,P2,,7,0.0,2.0,,,\n"
    )
    manifest = read_manifest(path)
    assert manifest.faults == ()
    first, second = manifest.rows
    assert (first.image, first.features) == (path.parent / "slides/a.svs", (path.parent / "slides/a.h5",))
    assert (first.id, first.patient, first.label, first.line) == ("slides/a", "P1", "tumor", 2)
    assert (first.time, first.event, first.fold, first.mpp) == (12.5, 1, 3, 0.25)
    assert (second.label, second.time, second.event, second.fold, second.mpp) == (None, 7.0, 0, 2, None)
    assert isinstance(second.event, int) and isinstance(second.fold, int)


def test_files_of_places_and_regions(write):
    path = write(
        "image,patient,coords,regions,region_classes\n"
        'slides/a.svs,P1,slides/a.h5,c.jpg,"Tumor; Tumor: Positive ;"\n'
        "slides/b.png,P2,,,\n"
        "c.jpg,P3,none.h5,none.geojson,\n"
        "d e.tif,P4,,,Tumor\n"
    )
    manifest = read_manifest(path)
    first, second = manifest.rows
    assert (first.coords, first.regions) == (path.parent / "slides/a.h5", path.parent / "c.jpg")
    assert first.region_classes == ("Tumor", "Tumor: Positive")
    assert (second.coords, second.regions, second.region_classes) == (None, None, ())
    wanted = ["line 4: coords 'none.h5' not found", "line 4: regions 'none.geojson' not found", "without regions"]
    assert len(manifest.faults) == 3
    assert all(want in fault for want, fault in zip(wanted, manifest.faults, strict=True))


def test_cells_are_a_file_beside_the_image(write):
    path = write("image,patient,cells\nslides/b.png,P1,d e.tif\nc.jpg,P2,\nslides/a.svs,P3,cells/none.png\n")
    manifest = read_manifest(path)
    assert [row.cells for row in manifest.rows] == [path.parent / "d e.tif", None]
    assert "cohort.csv line 4: cells 'cells/none.png' not found" in manifest.faults[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_paths_are_relative_to_the_manifest_and_not_to_the_working_folder(
    write, encoding, monkeypatch, tmp_path_factory
):
    path = write('image, patient\n"d e.tif", "Ä, B"\n\nslides/b.png,P\n', encoding)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    rows = read_manifest(os.path.relpath(path)).rows
    assert [row.id for row in rows] == ["d e", "slides/b"]
    assert [row.line for row in rows] == [2, 4]
    assert rows[0].patient == "Ä, B"
    assert all(row.image.is_absolute() and row.image.is_file() for row in rows)


BAD_ROWS = {
    "slides/none.svs,P1,1,1,0,0.5": "'slides/none.svs' not found",
    ",P1,1,1,0,0.5": "image is empty",
    "slides/b.png,,1,1,0,0.5": "patient is empty",
    "slides/b.png,P1,0,1,0,0.5": "time must be a number above 0, not '0'",
    "slides/b.png,P1,-3,1,0,0.5": "time must be",
    "slides/b.png,P1,1e999,1,0,0.5": "time must be",
    "slides/b.png,P1,1_0,1,0,0.5": "time must be",
    "slides/b.png,P1,soon,1,0,0.5": "time must be",
    "slides/b.png,P1,1,2,0,0.5": "event must be 1 (died) or 0 (censored), not '2'",
    "slides/b.png,P1,1,yes,0,0.5": "event must be",
    "slides/b.png,P1,1,1,1.5,0.5": "fold must be",
    "slides/b.png,P1,1,1,-1,0.5": "fold must be",
    "slides/b.png,P1,1,1,inf,0.5": "fold must be",
    "slides/b.png,P1,1,1,0,0": "mpp must be",
    "slides/b.png,P1,1,1,0,40": "no magnification (20x is about 0.5, 40x about 0.25), not '40'",
    "slides/b.png,P1,1,1,0,0.0005": "mpp must be microns per pixel from 0.05 to 20",
    "slides/b.png,P1,1,1,0,0.5,7,8": "8 cells under 6 columns",
    "slides/a.png,P1,1,1,0,0.5": "not found",
    "c.jpg,P1,1,1,0,0.5": "image 'c' was already named in line 2",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_bad_row_is_left_out_and_named_with_its_line(write, row):
    path = write(f"image,patient,time,event,fold,mpp\nc.jpg,P0,1,1,0,0.5\n{row}\nslides/a.svs,P2,1,1,0,0.5\n")
    manifest = read_manifest(path)
    assert [r.id for r in manifest.rows] == ["c", "slides/a"]
    assert len(manifest.faults) == 1
    assert BAD_ROWS[row] in manifest.faults[0]
    assert "cohort.csv line 3" in manifest.faults[0]


def test_all_faults_stand_in_one_message(write):
    path = write("image,patient,time,event,fold,mpp\n" + "\n".join(BAD_ROWS) + "\nslides/a.svs,P9,1,1,0,1\n")
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, strict=True)
    text = str(caught.value)
    for number, wanted in enumerate(BAD_ROWS.values(), start=2):
        if "already" not in wanted:  # here its twin is not named
            assert any(wanted in line and f"line {number}:" in line for line in text.splitlines()), wanted
    assert isinstance(caught.value, InputError)


def test_a_row_tells_all_its_faults(write):
    manifest = read_manifest(write("image,patient,time,event\nno.png,,x,7\nc.jpg,P,1,1\n"))
    assert len(manifest.faults) == 4


@pytest.mark.parametrize(("column", "values"), [("time", (1, 2)), ("event", (0, 1)), ("fold", (3, 4))])
def test_patient_whose_rows_disagree_is_left_out_whole(write, column, values):
    path = write(f"image,patient,{column}\nslides/a.svs,P1,{values[0]}\nc.jpg,P2,1\nslides/b.png,P1,{values[1]}\n")
    manifest = read_manifest(path)
    assert [row.id for row in manifest.rows] == ["c"]
    assert len(manifest.faults) == 1
    for part in ("line 2", "line 4", "'P1'", f"more than one {column}", "2 rows"):
        assert part in manifest.faults[0]


def test_gaps_are_filled_from_the_patients_other_rows(write):
    rows = read_manifest(write("image,patient,time,event\nslides/a.svs,P1,,\nc.jpg,P1,4,1\n")).rows
    assert [(row.time, row.event) for row in rows] == [(4.0, 1), (4.0, 1)]


def test_a_gap_is_filled_before_it_is_missed(write):
    text = (
        "image,patient,time,event,fold\nslides/a.svs,P1,4,1,0\nc.jpg,P1,,,\nslides/b.png,P1,NA,nan,\nd e.tif,P2,,1,1\n"
    )
    manifest = read_manifest(write(text), require=("time", "event"))
    assert [(row.time, row.event, row.fold) for row in manifest.rows] == [(4.0, 1, 0)] * 3
    assert len(manifest.faults) == 1
    assert "line 5: patient 'P2' has no time; the patient's 1 rows are left out" in manifest.faults[0]


def test_a_patient_without_an_outcome_is_left_out_and_named_once(write):
    text = "image,patient,time,event\nslides/a.svs,P1,NA,\nc.jpg,P2,3,0\nslides/b.png,P1,,NA\n"
    manifest = read_manifest(write(text), require=("time", "event"))
    assert [row.patient for row in manifest.rows] == ["P2"]
    assert len(manifest.faults) == 1
    assert "line 2: patient 'P1' has no time and no event; the patient's 2 rows are left out" in manifest.faults[0]
    assert [row.time for row in read_manifest(write(text)).rows] == [None, 3.0, None]


def test_what_a_row_says_of_its_patient_counts_though_its_image_is_missing(write):
    text = "image,patient,time,event\nnone.svs,P1,4,1\nc.jpg,P1,,\nnone2.svs,P2,4,1\nslides/b.png,P2,5,1\n"
    manifest = read_manifest(write(text), require=("time", "event"))
    assert [(row.id, row.time) for row in manifest.rows] == [("c", 4.0)]
    assert "'P2' has more than one time: 4.0 (line 4), 5.0 (line 5)" in " ".join(manifest.faults)


@pytest.mark.parametrize(
    "missing", ["", "NA", "NaN", "nan", "None", "#N/A", "N/A", "n/a", "NULL", "null", "<NA>", " NA "]
)
def test_a_missing_value_is_missing_in_every_column(write, missing):
    columns = ("image", "patient", "label", "time", "event", "fold", "mpp", "features", "regions", "region_classes")
    row = ["c.jpg", "P1", "x", "1", "1", "0", "0.5", "slides/a.h5", "slides/a.h5", "Tumor"]
    for place, column in enumerate(columns):
        cells = [missing if number == place else cell for number, cell in enumerate(row)]
        manifest = read_manifest(write(f"{','.join(columns)}\n{','.join(cells)}\nslides/b.png,P2{',' * 8}\n"))
        if column in ("image", "patient"):
            assert f"line 2: {column} is empty" in manifest.faults[0]
        elif column == "regions":
            assert "region_classes without regions" in manifest.faults[0]
        else:
            assert getattr(manifest.rows[0], column) in (None, ())
    assert manifest.rows[0].label == "x"


def test_words_that_are_no_missing_value_stay(write):
    path = write("image,patient,label\nc.jpg,nana,none\nslides/b.png,NAN01,na\n")
    assert [(row.patient, row.label) for row in read_manifest(path).rows] == [("nana", "none"), ("NAN01", "na")]


def test_all_faults_of_a_line_are_told_together(write):
    manifest = read_manifest(write("image,patient,mpp\nno.png,,x\nc.jpg,P,0\nslides/b.png,P,1\n"))
    assert len(manifest.faults) == 4
    assert list(manifest.left_out) == ["cohort.csv line 2", "cohort.csv line 3"]
    told = manifest.left_out["cohort.csv line 2"]
    assert all(part in told for part in ("patient is empty", "mpp must be", "'no.png' not found")) and "\n" not in told


def test_graphs_may_stand_in_place_of_an_image(write):
    manifest = read_manifest(write("image,patient,graphs\nc.jpg,P1,\n,P2,slides/a.h5\n,P3,NA\n"))
    assert [(row.id, row.graphs is None) for row in manifest.rows] == [("c", True), ("slides/a", False)]
    assert manifest.left_out == {"cohort.csv line 4": "image is empty; fill it in"}
    manifest = read_manifest(write("patient,graphs\nP1,slides/a.h5\nP2,\n"))
    assert [row.id for row in manifest.rows] == ["slides/a"]
    assert manifest.left_out == {"cohort.csv line 3": "neither image nor graphs is filled in; name one of them"}


def test_a_cell_of_thousands_of_characters_leaves_its_row_out_in_a_short_line(write):
    long = "x" * 5000
    rows = [f"{long},P1,,1", f"c.jpg,{long},,{long}", f"c.jpg,P2,{long},1", f"d e.tif,{'y' * 300},{'z' * 300},1"]
    manifest = read_manifest(write("\n".join(["image,patient,label,mpp", *rows])))
    assert [(row.id, row.line) for row in manifest.rows] == [("d e", 5)]
    assert ["not found", "patient has 5000 characters", "mpp must be", "label has 5000 characters"] == [
        next(
            part
            for part in ("not found", "patient has 5000 characters", "mpp must be", "label has 5000 characters")
            if part in fault
        )
        for fault in manifest.faults
    ]
    assert all(len(fault) < 1000 for fault in manifest.faults)


def test_columns_that_a_task_needs(write):
    path = write("image,patient,label\nslides/a.svs,P1,x\nc.jpg,P2,\n")
    assert len(read_manifest(path).rows) == 2
    manifest = read_manifest(path, require=("label",))
    assert [row.id for row in manifest.rows] == ["slides/a"]
    assert "line 3: label is empty" in manifest.faults[0]
    with pytest.raises(ManifestError, match=r"'time', 'event' missing.*'image', 'patient', 'label'"):
        read_manifest(path, require=("time", "event"))
    with pytest.raises(ValueError, match="no manifest column"):
        read_manifest(path, require=("color",))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "empty"),
        ("image,patient\n", "no row is usable"),
        ("image,patient\nnone.png,P\n", "not found"),
        ("path,case\na,b\n", "'image', 'patient' missing; existing columns are 'path', 'case'"),
        ("image;patient\na;b\n", "existing columns are 'image;patient'"),
        ("image,patient,image\nc.jpg,b,c\n", "occurs twice"),
        ('image,patient\n"c.jpg,b\n', "not a CSV"),
    ],
)
def test_table_that_cannot_be_used(write, text, wanted):
    path = write(text)
    with pytest.raises(ManifestError, match=wanted) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_what_is_no_text_or_not_there(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\xff\xfe\x00\x01")
    with pytest.raises(ManifestError, match="not a CSV"):
        read_manifest(tmp_path / "a.csv")
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ManifestError, match="no such manifest"):
            read_manifest(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet="imagepatient,\n\"' \t01.x;\x00é", max_size=80))
def test_any_text_gives_rows_or_a_manifest_error(write, text):
    path = write("image,patient,time\n" + text)
    try:
        manifest = read_manifest(path)
    except ManifestError:
        return
    assert all(row.image.is_file() and row.patient for row in manifest.rows)


def test_features_may_stand_in_place_of_an_image(write):
    text = "image,patient,features,slide\nc.jpg,P1,,\n,P2,slides/a.h5;d e.tif,\n,P2,slides/a.h5,second\n,P3,,x\n"
    manifest = read_manifest(write(text), without_image=("features",))
    assert [row.id for row in manifest.rows] == ["c", "a", "second"]
    assert [path.name for path in manifest.rows[1].features] == ["a.h5", "d e.tif"]
    assert manifest.left_out == {"cohort.csv line 5": "image is empty; fill it in"}
    manifest = read_manifest(write("patient,features\nP1,slides/a.h5\nP2,slides/a.h5\n"), without_image=("features",))
    assert len(manifest.rows) == 1 and "'a' was already named in line 2" in manifest.faults[0]
    with pytest.raises(ManifestError, match="image is empty"):
        read_manifest(write("image,patient,features\n,P1,slides/a.h5\n"))
    manifest = read_manifest(
        write("patient,features\nP1,slides/a.h5;gone.h5\nP2,slides/a.h5\n"), (), False, None, ["features"]
    )
    assert [row.patient for row in manifest.rows] == ["P2"] and "features 'gone.h5' not found" in manifest.faults[0]


def test_columns_may_have_other_names(write):
    text = "image,patient,os,dead,time,event\nslides/a.svs,P1,5,1,soon,9\nc.jpg,P2,0,1,,\nd e.tif,P2,4,1,,\n"
    manifest = read_manifest(write(text), ("time", "event"), names={"time": "os", "event": "dead"})
    assert [(row.time, row.event) for row in manifest.rows] == [(5, 1), (4, 1)]
    assert manifest.left_out == {"cohort.csv line 3": "patient 'P2': os must be a number above 0, not '0'"}
    with pytest.raises(ManifestError, match="column 'months' missing"):
        read_manifest(write(text), ("time", "event"), names={"time": "months"})
    assert all(row.time is None for row in read_manifest(write(text), names={"time": "", "event": ""}).rows)
