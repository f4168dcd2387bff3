"""Instances of cells tile by tile: from outlines and label maps alike, at any scale, and their faults in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.cell_maps import CellMapError, open_cell_map
from hmgdm_monai.data.tiles.row_cells import RowCells
from hmgdm_monai.errors import InputError

# Upper left corners of cells of 8 x 8 px, on whole pixels of a scale half as fine.
CORNERS = [(0, 0), (40, 20), (60, 40), (92, 12)]


def labels() -> np.ndarray:
    """(64, 96) uint16 numbers of the cells; the last one lies half beyond the image."""
    found = np.zeros((64, 96), np.uint16)
    for number, (x, y) in enumerate(CORNERS, 3):
        found[y : y + 8, x : x + 8] = number
    return found


def outlines(as_pieces: bool = False) -> list[dict]:
    def ring(x: float, y: float, width: float, height: float) -> list:
        return [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]

    features = []
    for x, y in CORNERS:
        halves = [[ring(x, y, 4, 8)], [ring(x + 4, y, 4, 8)]]
        shape = {"type": "Polygon", "coordinates": [ring(x, y, 8, 8)]}
        shape = {"type": "MultiPolygon", "coordinates": halves} if as_pieces else shape
        features.append({"type": "Feature", "geometry": shape, "properties": {"objectType": "cell"}})
    return features


@pytest.fixture
def row(tmp_path: Path) -> ManifestRow:
    Image.fromarray(np.full((64, 96, 3), 200, np.uint8)).save(tmp_path / "a.png")
    return ManifestRow(tmp_path / "a.png", "p", 2, mpp=0.25, folder=tmp_path)


def write(path: Path, content: object) -> Path:
    if path.suffix == ".png":
        Image.fromarray(content).save(path)
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        path.write_text(json.dumps(content))
    return path


def with_cells(row: ManifestRow, path: Path | None) -> ManifestRow:
    return ManifestRow(row.image, row.patient, row.line, mpp=row.mpp, cells=path, folder=row.folder)


def same_cells(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two maps of instances differ in nothing but their numbers."""
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs) and np.array_equal(found > 0, expected > 0)


@pytest.mark.parametrize("kind", ["png", "npy", "geojson", "pieces"])
def test_instances_at_two_scales(row: ManifestRow, tmp_path: Path, kind: str) -> None:
    content = outlines(kind == "pieces") if kind in ("geojson", "pieces") else labels()
    path = write(tmp_path / f"cells.{'geojson' if kind == 'pieces' else kind}", content)
    slide = open_slide(row.image, mpp=row.mpp)
    for factor in (1, 2):
        cells = RowCells(slide, with_cells(row, path), 0.25 * factor)
        found = cells.outlines((32, 16), 32)
        assert found.dtype == np.int64 and found.shape == (32, 32)
        whole = np.pad(labels(), ((0, 64), (0, 64)))
        assert same_cells(found, whole[16 : 16 + 32 * factor : factor, 32 : 32 + 32 * factor : factor])
        assert len(np.unique(found)) == (3 if factor == 1 else 4)  # of the third at the fine scale its visible part
    assert kind == "pieces" or cells.notes == ()  # a piece of the last cell lies beyond the image


def test_classes_do_not_matter_and_large_numbers_stay_apart(row: ManifestRow, tmp_path: Path) -> None:
    large = labels().astype(np.int64) * 2**33
    path = write(tmp_path / "large.npy", np.where(large > 0, large, -5))
    found = open_cell_map(path, (96, 64)).instances((0, 0), 1.0, 96)
    assert same_cells(found[:64], labels())
    assert found.min() == 0


def test_no_file_leaves_cells_to_the_nuclei(row: ManifestRow) -> None:
    assert RowCells(open_slide(row.image, mpp=0.25), row, 0.5).outlines((0, 0), 16) is None


def test_faults_are_told_in_one_line(row: ManifestRow, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: cells are measured in um.*column mpp"):
        RowCells(open_slide(row.image), row, 0.5)
    slide = open_slide(row.image, mpp=0.25)
    path = write(tmp_path / "other.png", labels()[:-1])
    with pytest.raises(CellMapError, match="full size"):
        RowCells(slide, with_cells(row, path), 0.5)
    beyond = {**outlines()[0], "geometry": {"type": "Point", "coordinates": [0, 0]}}
    path = write(tmp_path / "points.geojson", [*outlines(), beyond])
    assert "Point: 1" in RowCells(slide, with_cells(row, path), 0.5).notes[0]
