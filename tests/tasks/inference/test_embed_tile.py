"""One tile in, one embedding out: that of the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_in_miniature import bundle_in_miniature

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.inference.embed_cohort import embed_cohort
from hmgdm_monai.tasks.inference.embed_tile import embed_tile, encoder_of


def test_it_is_what_the_encoder_gives(tiny_pretrained: Any, tiny_model: Path, stained: Any) -> None:
    image = stained(64, 64)
    with torch.inference_mode():
        expected = tiny_pretrained(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])[0].numpy()
    for encoder in (tiny_pretrained, tiny_model, str(tiny_model)):
        embedding = embed_tile(image, encoder)
        assert embedding.dtype == np.float32
        np.testing.assert_array_equal(embedding, expected)


def test_the_default_is_the_encoder_that_ships_and_is_read_once(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmgdm_monai.saving.bundle_files._BESIDE", bundle_in_miniature(tmp_path, tiny))
    assert encoder_of(None).tile_size_px == 256 and encoder_of(None).tile_mpp == 1.0
    assert encoder_of(None) is encoder_of(None)
    assert not encoder_of(None).training


def test_the_encoder_of_this_checkout_is_the_default() -> None:
    embedding = embed_tile(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8))
    assert embedding.ndim == 1 and np.isfinite(embedding).all()


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((64, 64, 4), np.uint8), r"not \(64, 64, 4\) uint8; if it has four channels"),
        (np.zeros((3, 64, 64), np.uint8), r"must be an RGB image \(H, W, 3\) uint8"),
        (np.zeros((64, 64, 3)), "float64"),
        (np.zeros((32, 64, 3), np.uint8), "tiles must be of 64 x 64 px"),
    ],
)
def test_other_images_are_refused(image: np.ndarray, told: str, tiny_pretrained: Any) -> None:
    with pytest.raises(InputError, match=told):
        embed_tile(image, tiny_pretrained)


def test_a_cohort_is_embedded_by_the_same_encoder(tiny_pretrained: Any, tmp_path: Path, stained: Any) -> None:
    from skimage.io import imsave

    from hmgdm_monai.data.files.tile_embeddings_file import read_tile_embeddings

    imsave(tmp_path / "a.png", stained(64, 64), check_contrast=False)
    (tmp_path / "m.csv").write_text("image,patient,mpp\na.png,p0,0.5\n")
    embedded = embed_cohort(tmp_path / "m.csv", tmp_path / "out", tiny_pretrained, device="cpu", progress=False)
    features, ids = read_tile_embeddings(embedded.tiles)
    assert ids == ["a"]
    np.testing.assert_allclose(features[0], embed_tile(stained(64, 64), tiny_pretrained), atol=1e-5)
