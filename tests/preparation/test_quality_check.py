"""Tiles beyond the limits, or outside a mask, are left out and counted; without the check nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from monai.transforms import Compose
from PIL import Image

from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.data.stores.quality_table import read_quality
from hmgdm_monai.data.tiles.mask import MaskRule
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_sample import TileToGraph, checked_sample
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.preparation.tile_stream import PlainTiles, stream_slide
from hmgdm_monai.transforms.quality import QualityLimits, TileQualityd
from hmgdm_monai.transforms.quality_scores import quality_scores
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms

SPEC = TileSpec(size_px=64, mpp=0.5)
PLAIN = graph_transforms(Superpixels(n_segments=12))
NO_FOCUS = QualityLimits(min_focus=None)  # the fixture's texture is smooth
CHECKED = Compose([TileQualityd("image", NO_FOCUS), PLAIN])
SCORED = Compose([TileQualityd("image"), PLAIN])
INK = (40, 70, 190)


@pytest.fixture
def pixels(stained):
    """A slide of 4 x 3 tiles, of which (0, 0) and (2, 1) are under ink."""
    slide = stained(256, 192)
    slide[:64, :64] = INK
    slide[64:128, 128:192] = INK
    return slide


@pytest.fixture
def manifest(tmp_path, pixels, write_tiff):
    """Function that writes the slide and a manifest of it, with more columns."""

    def write(image=pixels, **columns):
        write_tiff(tmp_path / "s.tif", [image], compression="zlib")
        header, row = ["image", "patient", *columns], ["s.tif", "P", *map(str, columns.values())]
        (tmp_path / "cohort.csv").write_text(",".join(header) + "\n" + ",".join(row) + "\n")
        return tmp_path / "cohort.csv"

    return write


def build(manifest, transforms, folder="graphs", **settings):
    return build_graph_stores(
        manifest, manifest.parent / folder, TileRecipe(SPEC, transforms, **settings), progress=False
    )


def places(cohort):
    store = cohort.store()
    return [store.tile_info(index).location_px for index in range(len(store))]


def test_tiles_under_ink_are_left_out_counted_and_stored_with_their_scores(manifest, pixels):
    cohort = build(manifest(), CHECKED)
    assert len(cohort.store()) == 10
    assert {(0, 0), (128, 64)}.isdisjoint(places(cohort))
    assert cohort.left_out == {"pen": 2}
    assert cohort.skipped == []
    assert "left out 2 tiles (pen 2)" in cohort.summary()
    assert "- s: 2 of its 12 tiles are left out: pen 2" in cohort.summary()
    table = read_quality(cohort.paths[0])
    assert [(tile.location_px, tile.reason) for tile in table.left_out] == [((0, 0), "pen"), ((128, 64), "pen")]
    for (x, y), scores in zip(places(cohort), table.kept, strict=True):
        tile = np.ascontiguousarray(pixels[y : y + 64, x : x + 64].transpose(2, 0, 1))
        np.testing.assert_allclose(scores, quality_scores(tile, 0.5), rtol=1e-6)
    again = build(manifest(), CHECKED)  # the slide was written again, so it is read again
    assert again.left_out == {"pen": 2}


def test_without_limits_all_tiles_stay_and_have_scores(manifest):
    path = manifest()
    plain, scored = (build(path, transforms) for transforms in (PLAIN, SCORED))
    assert places(plain) == places(scored)
    assert plain.paths != scored.paths
    assert plain.left_out == scored.left_out == {}
    assert len(read_quality(scored.paths[0]).kept) == 12
    assert read_quality(plain.paths[0]).kept == []
    for first, second in zip(plain.store(), scored.store(), strict=True):
        assert first.keys() == second.keys()
        assert (first.label_map == second.label_map).all()


def test_an_image_of_which_all_tiles_are_left_out_is_skipped_with_the_reason(manifest, pixels, tmp_path):
    inked = np.full_like(pixels, INK)
    Image.fromarray(inked[:64, :64]).save(tmp_path / "t.png")
    Image.fromarray(pixels[64:128, :64]).save(tmp_path / "u.png")
    path = manifest(inked)
    with path.open("a") as file:
        file.write("t.png,Q\nu.png,Q\n")
    cohort = build(path, CHECKED)
    assert dict(cohort.skipped) == {
        "s.tif": "12 of its 12 tiles are left out: pen 12",
        "t.png": "1 of its 1 tiles are left out: pen 1",
    }
    assert len(cohort.store()) == 1
    assert cohort.left_out == {"pen": 1}  # of the patient's file
    kept = cohort.paths[0].stat().st_mtime_ns
    again = build(path, CHECKED)
    assert again.skipped == cohort.skipped
    assert again.paths[0].stat().st_mtime_ns == kept


def test_a_mask_leaves_tiles_out_and_identifies_the_store(manifest, tmp_path):
    mask = np.ones((12, 16), np.uint8)
    mask[:4, :4] = 4  # the tile (0, 0)
    Image.fromarray(mask).save(tmp_path / "m.png")
    path = manifest(mask="m.png")
    everything, pen_out = build(path, PLAIN), build(path, PLAIN, mask=MaskRule(outside=(4,)))
    assert len(everything.store()) == 12
    assert len(pen_out.store()) == 11
    assert pen_out.left_out == {"mask": 1}
    assert everything.paths != pen_out.paths
    mask[:] = 4
    mask[8:] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    other = build(path, CHECKED, mask=MaskRule(outside=(4,)))
    assert other.left_out == {"mask": 8}
    assert other.paths[0] not in pen_out.paths


def test_a_missing_mask_is_named_with_its_row(manifest):
    with pytest.raises(InputError, match="line 2: mask 'none.png' not found"):
        read_manifest(manifest(mask="none.png"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streams_leave_out_the_same_tiles_and_say_so(manifest, caplog, num_workers):
    path = manifest()
    (row,) = read_manifest(path).rows
    recipe = TileRecipe(SPEC, CHECKED)
    batches = list(stream_slide(row, recipe, TileToGraph(CHECKED, 0.5), batch_tiles=5, num_workers=num_workers))
    found = [tuple(place) for _, where, _ in batches for place in where.tolist()]
    assert found == places(build(path, CHECKED))
    assert "s: 2 of its 12 tiles are left out: pen 2" in caplog.text
    assert "show no cell" not in caplog.text


def test_a_plain_tile_that_is_left_out_is_named_in_a_stream(tmp_path, pixels):
    Image.fromarray(pixels[:64, :64]).save(tmp_path / "t.png")
    (tmp_path / "c.csv").write_text("image,patient\nt.png,P\n")
    tiles = PlainTiles(list(read_manifest(tmp_path / "c.csv").rows), TileRecipe(SPEC, CHECKED), TileToGraph(CHECKED), 4)
    assert tiles[0][3] == {"t": "1 of its 1 tiles are left out: pen 1"}


def test_limits_can_be_added_to_a_model_that_was_trained_without(manifest):
    (row,) = read_manifest(manifest()).rows
    to_sample = checked_sample(TileToGraph(PLAIN, 0.5), NO_FOCUS, 0.5)
    found = [where for _, where, _ in stream_slide(row, TileRecipe(SPEC, PLAIN), to_sample)]
    assert sum(map(len, found)) == 10
    assert checked_sample(to_sample, None) is to_sample
