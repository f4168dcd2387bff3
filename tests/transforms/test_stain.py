from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.stain import REFERENCE_STAINS, NormalizeStain, NormalizeStaind, stain_vectors


def _tile(stains: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """(3, 96, 96) uint8: nuclei of pure hematoxylin, pure eosin and mixtures, by the law of Beer and Lambert."""
    rng = np.random.default_rng(3)
    amount = rng.uniform(0.4, 1.2, (2, 96 * 96))
    kind = rng.integers(0, 3, 96 * 96)
    amount[1, kind == 0] = 0.0
    amount[0, kind == 1] = 0.0
    density = stains @ amount * strength
    return np.rint(240 * np.exp(-density) - 1).clip(0, 255).astype(np.uint8).reshape(3, 96, 96)


OTHER = np.array([[0.49, 0.30], [0.76, 0.85], [0.42, 0.43]])
OTHER = OTHER / np.linalg.norm(OTHER, axis=0)
REFERENCE = REFERENCE_STAINS / np.linalg.norm(REFERENCE_STAINS, axis=0)


@pytest.mark.parametrize("stains", [REFERENCE, OTHER], ids=["reference", "other"])
def test_stain_vectors_are_those_that_made_the_image(stains):
    density = -np.log((_tile(stains).reshape(3, -1) + 1.0) / 240)
    found = stain_vectors(density)
    angles = np.degrees(np.arccos(np.clip((found * stains).sum(0), -1, 1)))
    assert angles.max() < 2.5


def test_normalization_removes_the_laboratory():
    normalize = NormalizeStain()
    images = [_tile(REFERENCE), _tile(OTHER), _tile(OTHER, 0.7)]
    before = [np.abs(image.astype(float) - images[0]).mean() for image in images[1:]]
    after = [np.abs(normalize(image).astype(float) - normalize(images[0])).mean() for image in images[1:]]
    assert max(after) < 0.3 * min(before)
    assert max(after) < 6


def test_types_and_meta_data_are_kept():
    image = _tile(OTHER)
    expected = NormalizeStain()(image)
    assert expected.dtype == np.uint8 and expected.shape == image.shape and (expected != image).any()
    tensor = torch.from_numpy(image.copy())
    np.testing.assert_array_equal(NormalizeStain()(tensor).numpy(), expected)
    np.testing.assert_array_equal(tensor.numpy(), image)  # the input is left alone
    meta = NormalizeStain()(MetaTensor(tensor, meta={"mpp": 0.5}))
    assert isinstance(meta, MetaTensor) and meta.meta["mpp"] == 0.5
    np.testing.assert_array_equal(np.asarray(meta), expected)


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (180, 90, 160), (240, 239, 241)])
def test_blank_and_single_colored_tiles_are_unchanged(color):
    image = np.broadcast_to(np.array(color, np.uint8)[:, None, None], (3, 32, 32)).copy()
    np.testing.assert_array_equal(NormalizeStain()(image), image)
    image[:, 3, 4] = (100, 40, 90)  # a single stained pixel does not make two stains
    np.testing.assert_array_equal(NormalizeStain()(image), image)


def test_one_stain_alone_is_unchanged():
    amount = np.random.default_rng(0).uniform(0.5, 1.5, 1600)
    image = (240 * np.exp(-REFERENCE[:, :1] * amount)).astype(np.uint8).reshape(3, 40, 40)
    np.testing.assert_array_equal(NormalizeStain()(image), image)


def test_any_noise_gives_a_valid_image():
    rng = np.random.default_rng(1)
    for high in (2, 30, 256):
        result = NormalizeStain()(rng.integers(0, high, (3, 40, 40), dtype=np.uint8))
        assert result.dtype == np.uint8 and result.shape == (3, 40, 40)


def test_off_and_unknown_methods_and_wrong_shapes():
    image = _tile(OTHER)
    assert NormalizeStain(None)(image) is image
    with pytest.raises(InputError, match="vahadane"):
        NormalizeStain("vahadane")
    with pytest.raises(ValueError, match="uint8"):
        NormalizeStain()(image.transpose(1, 2, 0))


def test_dictionary_wrapper():
    image = _tile(OTHER)
    data = {"image": image, "name": "a"}
    result = NormalizeStaind(["image"])(data)
    np.testing.assert_array_equal(result["image"], NormalizeStain()(image))
    assert result["name"] == "a" and data["image"] is image
