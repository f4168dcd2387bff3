"""The superpixel transforms: containers kept, both methods alike in kind, bad input named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import label
from skimage.data import immunohistochemistry

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.superpixel_quality import superpixel_quality
from hmgdm_monai.transforms.superpixels import METHODS, Superpixels, Superpixelsd


@pytest.fixture(scope="module")
def tile() -> np.ndarray:
    """(3, 256, 256) uint8, a crop of the stained tile that scikit-image carries."""
    return np.ascontiguousarray(immunohistochemistry()[100:356, 100:356].transpose(2, 0, 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("merge_threshold", [None, 0.02])
def test_labels_are_contiguous_and_pieces_whole(tile: np.ndarray, method: str, merge_threshold: float | None) -> None:
    labels = Superpixels(method=method, merge_threshold=merge_threshold)(tile)
    assert labels.shape == (1, 256, 256)
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert all(label(labels[0] == k)[1] == 1 for k in range(labels.max() + 1))


def test_the_fast_method_agrees_with_scikit_image(tile: np.ndarray) -> None:
    fast, reference = Superpixels()(tile), Superpixels(method="skimage")(tile)
    assert abs(int(fast.max()) - int(reference.max())) <= 6
    against_reference = superpixel_quality(fast, reference)
    grid = np.arange(256) * 7 // 256
    against_grid = superpixel_quality(grid[:, None] * 7 + grid, reference)
    assert against_reference["boundary_recall"] > 0.8 > 0.5 > against_grid["boundary_recall"]
    assert against_reference["achievable_segmentation_accuracy"] > 0.85


def test_merging_leaves_fewer(tile: np.ndarray) -> None:
    counts = [int(Superpixels(merge_threshold=t)(tile).max()) + 1 for t in (None, 0.01, 0.02, 2.0)]
    assert counts[0] > counts[1] > counts[2] > counts[3] == 1


@pytest.mark.parametrize("method", METHODS)
def test_one_color_is_one_superpixel(method: str) -> None:
    labels = Superpixels(method=method)(np.full((3, 40, 50), 211, np.uint8))
    assert labels.shape == (1, 40, 50)
    assert (labels == 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (9, 30)])
def test_tiny_tiles(method: str, shape: tuple[int, int]) -> None:
    tile = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    labels = Superpixels(method=method)(tile)
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


def test_containers_are_kept(tile: np.ndarray) -> None:
    superpixels = Superpixels()
    expected = superpixels(tile)
    tensor = superpixels(torch.from_numpy(tile))
    assert type(tensor) is torch.Tensor
    assert tensor.dtype == torch.int32
    meta = superpixels(MetaTensor(torch.from_numpy(tile), meta={"mpp": 0.5}))
    assert isinstance(meta, MetaTensor)
    assert meta.meta["mpp"] == 0.5
    assert np.array_equal(expected, tensor.numpy())
    assert np.array_equal(expected, meta.numpy())


def test_the_tile_is_left_as_it_was(tile: np.ndarray) -> None:
    before = tile.copy()
    Superpixels()(tile)
    assert np.array_equal(before, tile)


def test_dictionary_version(tile: np.ndarray) -> None:
    data = {"image": tile, "other": tile[:, :64, :64].copy()}
    out = Superpixelsd(["image", "other"], ["image_labels", "other_labels"], n_segments=10)(data)
    assert "image_labels" not in data
    assert np.array_equal(out["image_labels"], Superpixels(n_segments=10)(tile))
    assert out["other_labels"].shape == (1, 64, 64)
    with pytest.raises(KeyError):
        Superpixelsd("absent")(data)
    assert "label_map" not in Superpixelsd("absent", allow_missing_keys=True)(data)
    with pytest.raises(ValueError, match="label_map_keys"):
        Superpixelsd(["image", "other"])


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((3, 8, 8), np.float32),
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((8, 8), np.uint8),
        np.zeros((3, 0, 8), np.uint8),
        torch.zeros(3, 8, 8),
    ],
)
def test_bad_tiles_are_named_in_one_line(bad: np.ndarray | torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"uint8 of shape \(3, H, W\)") as error:
        Superpixels()(bad)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings", [{"n_segments": 0}, {"iterations": 0}, {"compactness": 0.0}, {"sigma": -1.0}, {"method": "watershed"}]
)
def test_bad_settings(settings: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Superpixels(**settings)
