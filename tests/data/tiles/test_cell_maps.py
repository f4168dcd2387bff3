"""Imported cells come back pixel by pixel, whatever the file; what does not fit is told or counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from hmgdm_monai.data.tiles.cell_maps import UNKNOWN, CellMapError, open_cell_map
from hmgdm_monai.errors import InputError

SIZE = (60, 40)  # width, height


@pytest.fixture
def cells() -> np.ndarray:
    """(40, 60) numbers of four square cells."""
    labels = np.zeros((40, 60), np.uint16)
    for number, (y, x) in enumerate([(0, 0), (10, 20), (25, 50), (34, 4)], 1):
        labels[y : y + 6, x : x + 6] = number
    return labels


def square(x: float, y: float, side: float, name: str | None = None, **properties: object) -> dict:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    if name is not None:
        properties["classification"] = {"name": name}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def write(path, content):
    if path.suffix == ".png":
        Image.fromarray(content).save(path)
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        path.write_text(json.dumps(content))
    return path


def squares(names=(None, None, None, None)) -> list[dict]:
    places = [(0, 0), (20, 10), (50, 25), (4, 34)]
    return [square(x, y, 6, name) for (x, y), name in zip(places, names, strict=True)]


@pytest.mark.parametrize("suffix", [".png", ".npy", ".geojson"])
def test_cells_come_back_as_they_were(tmp_path, cells, suffix):
    path = write(tmp_path / f"a{suffix}", squares() if suffix == ".geojson" else cells)
    cell_map = open_cell_map(path, SIZE)
    assert cell_map.notes == ()
    whole = cell_map.window((0, 0), 1.0, 60)
    assert whole.dtype == np.int32
    assert np.array_equal(whole[:40], cells > 0)
    assert not whole[40:].any()  # beyond the image
    assert np.array_equal(cell_map.window((18, 8), 1.0, 12), cells[8:20, 18:30] > 0)
    assert np.array_equal(cell_map.window((0, 0), 2.0, 20), cells[1:40:2, 1:40:2] > 0)
    fine = np.repeat(np.repeat(cells[:10, :10] > 0, 2, axis=0), 2, axis=1)
    assert np.array_equal(cell_map.window((0, 0), 0.5, 20), fine)
    shifted = cell_map.window((-5, -5), 1.0, 30)
    assert np.array_equal(shifted[5:, 5:], cells[:25, :25] > 0)
    assert not shifted[:5].any()
    assert not cell_map.window((500, 500), 1.0, 8).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_any_integer_type_serves(tmp_path, cells, dtype):
    path = write(tmp_path / "a.npy", cells.astype(dtype))
    assert np.array_equal(open_cell_map(path, SIZE).window((0, 0), 1.0, 40), cells[:, :40] > 0)


def test_class_maps_keep_listed_ids_and_count_the_others(tmp_path, cells):
    path = write(tmp_path / "a.png", cells.astype(np.uint8))
    window = open_cell_map(path, SIZE, ["a", "b", "c", "d"], "classes").window((0, 0), 1.0, 60)[:40]
    assert np.array_equal(window, cells)
    part = open_cell_map(path, SIZE, ["a", "b"], "classes")
    assert np.array_equal(part.window((0, 0), 1.0, 60)[:40], np.where(cells > 2, UNKNOWN, cells.astype(int)))
    (note,) = part.notes
    assert note.startswith(f"{path}: skipped 72 px of class ids beyond the 2 listed (")
    assert "\n" not in note


def test_classes_of_outlines_follow_the_list_and_unknown_ones_are_counted(tmp_path, cells):
    path = write(tmp_path / "a.geojson", squares(("tumor", "immune", "dead", None)))
    cell_map = open_cell_map(path, SIZE, ["immune", "tumor"])
    expected = np.array([0, 2, 1, UNKNOWN, UNKNOWN])[cells]
    assert np.array_equal(cell_map.window((0, 0), 1.0, 60)[:40], expected)
    assert cell_map.notes == (f"{path}: skipped 2 cells of classes that are not listed (dead: 1, no class: 1)",)


def test_outlines_beyond_the_image_are_counted(tmp_path):
    path = write(tmp_path / "a.geojson", [*squares(), square(900, 900, 6), square(58, 38, 6)])
    (note,) = open_cell_map(path, SIZE).notes
    assert "1 of 6 shapes lie outside the image (60 x 40 px)" in note


def test_annotations_around_cells_are_no_cells(tmp_path, cells):
    features = [dict(f, properties={"objectType": "detection"}) for f in squares()]
    path = write(tmp_path / "a.geojson", [*features, square(0, 0, 40, "Tumor", objectType="annotation")])
    cell_map = open_cell_map(path, SIZE)
    assert np.array_equal(cell_map.window((0, 0), 1.0, 60)[:40], cells > 0)
    assert "skipped 1 shapes that are neither cells nor detections" in cell_map.notes[0]
    alone = write(tmp_path / "b.geojson", [square(0, 0, 6, objectType="annotation")])  # as CellViT writes its cells
    assert open_cell_map(alone, SIZE).window((0, 0), 1.0, 8).sum() == 36


def test_what_is_no_polygon_is_counted(tmp_path):
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}
    path = write(tmp_path / "a.json", [*squares(), point])
    assert open_cell_map(path, SIZE).notes == (f"{path}: skipped 1 shapes that are not cells (Point: 1)",)


def test_a_file_without_cells_is_fine(tmp_path, cells):
    for path in (write(tmp_path / "a.npy", 0 * cells), write(tmp_path / "a.geojson", [])):
        cell_map = open_cell_map(path, SIZE)
        assert not cell_map.window((0, 0), 1.0, 16).any()
        assert cell_map.notes == ()


def test_a_label_map_of_another_size_is_told_with_both_sizes(tmp_path, cells):
    path = write(tmp_path / "a.png", cells.T)
    with pytest.raises(CellMapError, match="label map is 40 x 60 px, its image 60 x 40"):
        open_cell_map(path, SIZE)


def test_files_that_are_no_cells_are_told_in_one_line(tmp_path, cells):
    bad = {
        "color.png": np.zeros((40, 60, 3), np.uint8),
        "float.npy": cells.astype(float),
        "deep.npy": cells[None],
        "objects.npy": np.array([{}, {}], dtype=object),
    }
    paths = [write(tmp_path / name, content) for name, content in bad.items()]
    for name, content in {
        "cut.png": b"\x89PNG\r\n\x1a\n123",
        "cut.npy": b"\x93NUMPY",
        "b.json": b"{",
        "c.tif": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        paths.append(tmp_path / name)
    paths.append(tmp_path / "none.png")
    for path in paths:
        with pytest.raises(CellMapError) as caught:
            open_cell_map(path, SIZE)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_png_that_may_be_a_bomb_is_told(tmp_path, cells, monkeypatch):
    monkeypatch.setenv("HMGDM_MAX_IMAGE_PX", "100")
    with pytest.raises(CellMapError, match="more than 100 px .* decompression bomb.*NPY"):
        open_cell_map(write(tmp_path / "a.png", cells), SIZE)


def test_instances_tell_no_classes(tmp_path, cells):
    path = write(tmp_path / "a.png", cells)
    with pytest.raises(CellMapError, match="instances has no classes"):
        open_cell_map(path, SIZE, ["a"])
    with pytest.raises(InputError, match="'instances' or 'classes'"):
        open_cell_map(path, SIZE, labels="both")
