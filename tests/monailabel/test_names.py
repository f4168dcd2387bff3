from __future__ import annotations

from pathlib import Path

import pytest
from lib.names import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_name, check_upload, image_path, inside

from hmgdm_monai.errors import InputError


@pytest.mark.parametrize(
    "name", ["tile_7", "TCGA-A1-A0SB 01.svs", "slide (2)", "Schnitt-ä", "%2e%2e", "a..b", "x" * 150]
)
def test_names_of_files_are_taken_as_they_are(name):
    assert check_name(name, "image") == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "must be a name"),
        (None, "must be a name"),
        (7, "must be a name"),
        ("..", "starts with a dot"),
        (".lock", "starts with a dot"),
        ("../x", "slash"),
        ("/etc/passwd", "slash"),
        ("a\\b", "backslash"),
        ("a\0b", "printed"),
        ("a\nb", "printed"),
        ("a\u202eb", "printed"),
        ("\ud800", "printed"),
        ("ä" * 76, "longer than 150 bytes"),
    ],
)
def test_names_that_may_lead_elsewhere_are_refused_in_one_line(name, why):
    with pytest.raises(InputError, match=why) as caught:
        check_name(name, "tag")
    assert str(caught.value).startswith("tag") and str(caught.value).isprintable() and len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.b.svs", "a.py.tiff"])
def test_uploads_of_images_are_taken(name):
    assert check_upload(name, IMAGE_SUFFIXES, "file") == name


@pytest.mark.parametrize("name", ["a", "a.py", "a.png.py", "a.json", "a.nii.gz", "png", "a.png/", "a.png ", "../a.png"])
def test_uploads_of_anything_else_are_refused(name):
    with pytest.raises(InputError, match="file"):
        check_upload(name, IMAGE_SUFFIXES, "file")


def test_labels_have_suffixes_of_their_own():
    assert check_upload("a.json", LABEL_SUFFIXES, "label") == "a.json"
    with pytest.raises(InputError, match="none of the suffixes .json, .xml"):
        check_upload("a.png", LABEL_SUFFIXES, "label")


def test_a_path_is_inside_by_where_its_links_lead(tmp_path: Path):
    studies, outside = tmp_path / "studies", tmp_path / "studies-of-others"
    studies.mkdir()
    outside.mkdir()
    (studies / "link").symlink_to(outside)
    assert inside(studies / "a.png", [studies]) and inside(studies, [studies])
    assert not inside(outside / "a.png", [studies])
    assert not inside(studies / ".." / "a.png", [studies])
    assert not inside(studies / "link" / "a.png", [studies])
    assert inside(studies / "link" / "a.png", [studies, outside])
    assert not inside(studies / "a.png", [])


def test_images_are_read_by_path_from_the_folders_alone(tmp_path: Path):
    studies, outside = tmp_path / "studies", tmp_path / "outside"
    for folder in (studies, outside):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"")
    (studies / "link.png").symlink_to(outside / "a.png")
    (studies / "a.txt").write_text("")
    assert image_path(str(studies / "a.png"), [studies]) == studies / "a.png"
    assert image_path(str(studies / "link.png"), [studies, outside]) == outside / "a.png"
    # What is there and what is not look the same from outside.
    for path in (outside / "a.png", outside / "none.png", studies / "link.png", studies / ".." / "outside" / "a.png"):
        with pytest.raises(InputError, match="lies outside of the studies folder"):
            image_path(str(path), [studies])
    for path, why in (
        ("a.txt", "suffixes"),
        ("none.png", "is not there"),
        ("a\0.png", "no path"),
        ("x" * 5000, "no path"),
    ):
        with pytest.raises(InputError, match=why):
            image_path(f"{studies}/{path}", [studies])
