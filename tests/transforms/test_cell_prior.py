"""Priors give regions in the order of their names, and say in one line what they lack."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import immunohistochemistry

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.tiles.cell_maps import CellMapError
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.cell_prior import NO_REGION, ImportedPrior, NucleusPrior, NucleusPriord, SuperpixelPrior
from hmgdm_monai.transforms.nuclei import SegmentNuclei


@pytest.fixture(scope="module")
def tile() -> np.ndarray:
    """(3, 128, 128) uint8, its left quarter glass."""
    image = immunohistochemistry()[100:228, 100:228].transpose(2, 0, 1).copy()
    image[:, :, :32] = 245
    return image


@pytest.fixture
def row(tile, tmp_path) -> ManifestRow:
    """An image of 128 px with a class map: cells of classes 1, 2 and 7."""
    Image.fromarray(tile.transpose(1, 2, 0)).save(tmp_path / "a.png")
    cells = np.zeros((128, 128), np.int32)
    cells[40:50, 40:50], cells[60:70, 60:70], cells[80:90, 80:90] = 1, 2, 7
    np.save(tmp_path / "a.npy", cells)
    return ManifestRow(tmp_path / "a.png", "P", 2, mpp=0.5, cells=tmp_path / "a.npy", folder=tmp_path)


def test_nuclei_glass_and_the_rest(tile):
    prior = NucleusPrior()
    regions = prior(tile, mpp=0.5)
    assert (regions.shape, regions.dtype) == ((1, 128, 128), np.uint8)
    assert np.array_equal(np.unique(regions), [0, 1, 2])
    assert prior.names == ("background", "other tissue", "cell")
    assert (regions[0, :, :28] == 0).all()
    assert np.array_equal(regions == 2, SegmentNuclei()(tile, 0.5) > 0)


def test_containers_and_dictionaries(tile):
    array = NucleusPrior()(tile, mpp=0.5)
    tensor = NucleusPrior()(torch.from_numpy(tile), mpp=0.5)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor.numpy(), array)
    assert np.array_equal(NucleusPriord("image")({"image": tile, "mpp": 0.5})["regions"], array)


def test_superpixels_keep_their_numbers(tile):
    superpixels = np.arange(128 * 128, dtype=np.int32).reshape(1, 128, 128) // 400
    regions = SuperpixelPrior(50)(tile, superpixels)
    assert np.array_equal(regions, superpixels)
    assert regions.dtype == np.uint8
    assert len(SuperpixelPrior(50).names) == 50
    assert len(SuperpixelPrior().names) == 255


def test_too_many_superpixels_are_told(tile):
    superpixels = np.arange(128 * 128, dtype=np.int32).reshape(1, 128, 128) // 64
    with pytest.raises(InputError, match="superpixels 0 to 255, regions are numbered 0 to 254; lower n_segments"):
        SuperpixelPrior()(tile, superpixels)
    with pytest.raises(InputError, match="needs superpixels"):
        SuperpixelPrior()(tile)
    with pytest.raises(ValueError, match="max_regions"):
        SuperpixelPrior(256)


def test_imported_cells_stand_over_tissue(tile, row):
    prior = ImportedPrior()
    regions = prior(tile, None, 0.5, row, (0, 0))[0]
    assert prior.names == ("background", "other tissue", "cell")
    assert (regions == 2).sum() == 300
    assert (regions[:, :28] == 0).all()
    assert regions[100, 110] in (0, 1)


def test_imported_cell_types_follow_the_list_and_unknown_ones_belong_nowhere(tile, row):
    prior = ImportedPrior(["immune", "tumor"], labels="classes")
    regions = prior(tile, None, 0.5, row, (0, 0))[0]
    assert prior.names == ("background", "other tissue", "immune", "tumor")
    assert [int((regions == value).sum()) for value in (2, 3, NO_REGION)] == [100, 100, 100]
    (note,) = prior.notes(row)
    assert "100 px of class ids beyond the 2 listed (7: 100)" in note


def test_imported_cells_are_read_where_the_tile_lies(tile, row):
    """A tile of 32 px at 1 um from (40, 40) covers 64 px of the image at 0.5 um."""
    regions = ImportedPrior()(tile[:, :32, 32:64], None, 1.0, row, (40, 40))[0]
    assert (regions[:5, :5] == 2).all()
    assert (regions[10:15, 10:15] == 2).all()
    assert (regions == 2).sum() == 75


def test_settings_tell_files_and_arguments_apart(row):
    prior, rows = ImportedPrior(), [row]
    first = prior.settings(rows)
    assert json.loads(json.dumps(first)) == first == pickle.loads(pickle.dumps(prior)).settings(rows)
    assert ImportedPrior(labels="classes").settings(rows) != first
    os.utime(row.cells, ns=(0, 0))
    assert prior.settings(rows) != first
    assert NucleusPrior().settings(rows) == NucleusPrior().settings()
    assert NucleusPrior(sigma_um=1).settings() != NucleusPrior().settings()
    assert SuperpixelPrior(9).settings() != SuperpixelPrior(8).settings()


def test_an_open_prior_can_be_pickled(tile, row):
    prior = ImportedPrior()
    regions = prior(tile, None, 0.5, row, (0, 0))
    assert np.array_equal(pickle.loads(pickle.dumps(prior))(tile, None, 0.5, row, (0, 0)), regions)


def test_what_is_missing_is_told(tile, row, tmp_path):
    with pytest.raises(InputError, match="um per pixel"):
        NucleusPrior()(tile)
    with pytest.raises(InputError, match="needs its manifest row"):
        ImportedPrior()(tile)
    bare = ManifestRow(row.image, "P", 2, mpp=0.5, folder=tmp_path)
    with pytest.raises(CellMapError, match="fill in its cells column"):
        ImportedPrior().notes(bare)
    gone = ManifestRow(tmp_path / "gone.png", "P", 2, cells=row.cells)
    with pytest.raises(CellMapError, match=r"gone\.png"):
        ImportedPrior().notes(gone)
    for classes in ([], ["a", "a"], [str(number) for number in range(254)]):
        with pytest.raises(ValueError, match="class"):
            ImportedPrior(classes)
