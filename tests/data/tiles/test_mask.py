from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from hmgdm_monai.data.tiles.mask import MaskRule, tiles_in_mask
from hmgdm_monai.errors import InputError

SLIDE_PX = (800, 400)
PLACES = np.array([(x, y) for y in range(0, 400, 100) for x in range(0, 800, 100)])
# Tissue 1 on the left half, a fold 2 on the leftmost column of tiles, background 7 elsewhere; 10 px per mask pixel.
VALUES = np.full((40, 80), 7, np.uint8)
VALUES[:, :40] = 1
VALUES[:, :10] = 2


def columns(kept: np.ndarray) -> list[int]:
    """Columns of tiles that are kept; all rows must agree."""
    grid = kept.reshape(4, 8)
    assert (grid == grid[0]).all()
    return np.flatnonzero(grid[0]).tolist()


def find(path, rule=None, places=PLACES, slide_px=SLIDE_PX):
    return tiles_in_mask(path, places, 100, slide_px, rule or MaskRule())


@pytest.fixture(params=["png", "tif", "palette", "rgb"])
def raster(tmp_path, request):
    path = tmp_path / f"mask.{'tif' if request.param == 'tif' else 'png'}"
    if request.param == "tif":
        tifffile.imwrite(path, VALUES, compression="zlib")
    elif request.param == "rgb":
        Image.fromarray(np.repeat(VALUES[..., None], 3, -1)).save(path)
    else:
        image = Image.fromarray(VALUES)
        if request.param == "palette":
            image.putpalette([0] * 768)
        image.save(path)
    return path


@pytest.fixture
def regions(tmp_path):
    def box(name, left, right):
        ring = [[left, 0], [right, 0], [right, 400], [left, 400], [left, 0]]
        properties = {} if name is None else {"classification": {"name": name}}
        return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    def write(*boxes):
        path = tmp_path / "mask.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [box(*one) for one in boxes]}))
        return path

    return write


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (MaskRule(inside=(1,)), [1, 2, 3]),
        (MaskRule(inside=("1", 2)), [0, 1, 2, 3]),
        (MaskRule(outside=(2,)), [1, 2, 3, 4, 5, 6, 7]),
        (MaskRule(inside=[1], outside=[2]), [1, 2, 3]),
        (MaskRule(), list(range(8))),
    ],
)
def test_values_of_a_raster_are_in_or_out(raster, rule, kept):
    assert columns(find(raster, rule)) == kept


def test_by_default_zero_is_out(tmp_path):
    Image.fromarray((VALUES == 1).astype(np.uint8) * 255).save(tmp_path / "use.png")  # as HistoQC writes it
    assert columns(find(tmp_path / "use.png")) == [1, 2, 3]
    Image.fromarray(VALUES == 1).save(tmp_path / "bits.png")
    assert columns(find(tmp_path / "bits.png")) == [1, 2, 3]


def test_the_scale_of_the_raster_does_not_matter(tmp_path):
    for factor in (1, 3):
        Image.fromarray(np.kron(VALUES, np.ones((factor, factor), np.uint8))).save(tmp_path / f"{factor}.png")
    shifted = PLACES[PLACES[:, 0] < 700] + (37, 0)
    first, second = (find(tmp_path / f"{factor}.png", MaskRule((1,)), shifted) for factor in (1, 3))
    np.testing.assert_array_equal(first, second)


def test_min_share_is_the_least_share_of_a_tile(raster):
    half = np.array([[50, 0], [350, 0]])  # half on the fold, half on the background
    assert find(raster, MaskRule((1,), min_share=0.5), half).tolist() == [True, True]
    with pytest.raises(InputError, match="keeps none of the 2 tiles; values in it are 1, 2, 7"):
        find(raster, MaskRule((1,), min_share=0.6), half)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (MaskRule(), [0, 1, 2, 5]),
        (MaskRule(inside=("tissue",)), [0, 1, 2]),
        (MaskRule(outside=("fold",)), [0, 1, 2, 4, 5, 6, 7]),
        (MaskRule(inside=("tissue", "fold"), outside=("pen",)), [0, 1, 2, 3]),
    ],
)
def test_classes_of_regions_are_in_or_out(regions, rule, kept):
    boxes = [("tissue", 0, 300), ("fold", 300, 400), (None, 500, 600), ("Ignore*", 300, 310)]
    if rule == MaskRule():  # all regions but Ignore*
        boxes[1] = ("Ignore*", 300, 400)
    assert columns(find(regions(*boxes), rule)) == kept


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"min_share": 0}, "min_share"),
        ({"min_share": float("nan")}, "min_share"),
        ({"inside": (1,), "outside": ("1",)}, "both inside and outside"),
    ],
)
def test_rules_out_of_range_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        MaskRule(**bad)


def test_files_that_are_no_mask_are_one_line(tmp_path, raster, regions):
    with pytest.raises(InputError, match="do not have the shape of the slide"):
        find(raster, slide_px=(400, 400))
    with pytest.raises(InputError, match="not the classes tissue"):
        find(raster, MaskRule(("tissue",)))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 80, 3), np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match="one channel"):
        find(tmp_path / "photo.png")
    for name in ("text.png", "text.tif"):
        (tmp_path / name).write_text("nothing")
        with pytest.raises(InputError, match=name):
            find(tmp_path / name)
    with pytest.raises(InputError, match="values in it are tissue"):
        find(regions(("tissue", 0, 300)), MaskRule(("tumor",)))
