"""Degraded tiles: what changes, what stays, and that a seed tells it all."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.degrade import RandDegrade, RandDegraded

OFF = {"stain_scale": 0.0, "blur_probability": 0.0, "jpeg_probability": 0.0}


@pytest.fixture
def tile(stained) -> np.ndarray:
    """(3, 64, 64) uint8 with noise of single pixels, which blur and compression take away."""
    rough = np.random.default_rng(0).integers(-20, 21, (64, 64, 3))
    return (stained(64, 64).astype(int) + rough).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


def roughness(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.astype(float), axis=2)).mean())


def test_nothing_set_changes_nothing(tile: np.ndarray) -> None:
    assert np.array_equal(RandDegrade(**OFF)(tile), tile)


def test_a_seed_tells_it_all(tile: np.ndarray) -> None:
    first, second = (RandDegrade().set_random_state(5) for _ in range(2))
    one, two = [first(tile) for _ in range(4)], [second(tile) for _ in range(4)]
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], one[1])  # each tile is drawn for anew
    assert not np.array_equal(RandDegrade().set_random_state(6)(tile), one[0])


def test_type_and_shape_stay_and_the_tile_is_left_alone(tile: np.ndarray) -> None:
    before, degrade = tile.copy(), RandDegrade().set_random_state(0)
    found = degrade(tile)
    assert isinstance(found, np.ndarray) and found.dtype == np.uint8 and found.shape == tile.shape
    as_tensor = RandDegrade().set_random_state(0)(torch.from_numpy(tile))
    assert as_tensor.dtype == torch.uint8 and np.array_equal(as_tensor.numpy(), found)
    assert np.array_equal(tile, before)


def test_compression_is_that_of_jpeg(tile: np.ndarray) -> None:
    found = RandDegrade(**{**OFF, "jpeg_probability": 1.0}, jpeg_quality=(20, 20))(tile)
    file = io.BytesIO()
    Image.fromarray(tile.transpose(1, 2, 0).copy()).save(file, "JPEG", quality=20)
    assert np.array_equal(found, np.asarray(Image.open(file)).transpose(2, 0, 1))


def test_blur_smooths_and_stain_moves_color_not_place(tile: np.ndarray) -> None:
    blurred = RandDegrade(**{**OFF, "blur_probability": 1.0}, blur_sigma_px=(1.5, 1.5))(tile)
    assert roughness(blurred) < 0.3 * roughness(tile)
    stained = RandDegrade(**{**OFF, "stain_scale": 0.3}).set_random_state(1)(tile)
    assert np.abs(stained.mean((1, 2)) - tile.mean((1, 2))).max() > 2
    gray = [image.astype(float).mean(0).ravel() for image in (stained, tile)]
    assert np.corrcoef(*gray)[0, 1] > 0.98


def test_as_many_tiles_are_blurred_and_compressed_as_was_said(tile: np.ndarray) -> None:
    small = tile[:, :16, :16]
    for name, share in (("blur_probability", 0.3), ("jpeg_probability", 0.6)):
        degrade = RandDegrade(**{**OFF, name: share}).set_random_state(0)
        changed = np.mean([not np.array_equal(degrade(small), small) for _ in range(400)])
        assert changed == pytest.approx(share, abs=0.08)


def test_blur_and_compression_alone_are_the_stronger_half(tile: np.ndarray) -> None:
    degrade = RandDegrade(0.3, 0.1, (0.5, 2.0), 0.1, (10, 60))
    assert degrade.blurring().settings == {
        "stain_scale": 0.0,
        "blur_probability": 1.0,
        "blur_sigma_px": [1.25, 2.0],
        "jpeg_probability": 0.0,
        "jpeg_quality": [10, 60],
    }
    compressing = degrade.compressing().settings
    assert compressing["jpeg_quality"] == [10, 35] and compressing["jpeg_probability"] == 1.0
    assert compressing["blur_probability"] == compressing["stain_scale"] == 0.0
    assert roughness(degrade.blurring()(tile)) < 0.3 * roughness(tile)


def test_in_a_dictionary_each_key_is_drawn_for(tile: np.ndarray) -> None:
    degrade = RandDegraded(("a", "b"), allow_missing_keys=True).set_random_state(3)
    data = {"a": tile, "b": tile, "label": 1}
    found = degrade(data)
    assert data["a"] is tile and found["label"] == 1
    assert not np.array_equal(found["a"], found["b"])
    assert np.array_equal(found["a"], RandDegrade().set_random_state(3)(tile))
    assert "b" not in degrade({"a": tile})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"jpeg_quality": (0, 50)}, "jpeg_quality"),
        ({"jpeg_quality": (60, 50)}, "jpeg_quality"),
        ({"jpeg_probability": 1.5}, "jpeg_probability"),
        ({"stain_scale": 1.0}, "stain_scale"),
        ({"blur_sigma_px": (2.0, 1.0)}, "blur_sigma_px"),
    ],
)
def test_faulty_settings(settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        RandDegrade(**settings)


def test_faulty_tiles(tile: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\(3, H, W\) uint8"):
        RandDegrade()(tile.transpose(1, 2, 0))
    with pytest.raises(InputError, match=r"\(3, H, W\) uint8"):
        RandDegrade()(tile.astype(np.float32))
    with pytest.raises(InputError, match="needs tiles of 7 px"):
        RandDegrade()(tile[:, :6])
