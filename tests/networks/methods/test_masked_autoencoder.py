"""Masked autoencoders of images: what is hidden reaches neither encoder nor decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from diffusers import DDPMScheduler  # isort: skip
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.networks.encoders.tile_vit import PIXEL_MEAN, PIXEL_STD, TileViT
from hmgdm_monai.networks.methods.masked_autoencoder import MaskedAutoencoder, patchify

VIT = {"image_px": 32, "patch_px": 8, "hidden_dim": 16, "num_layers": 2, "heads": 2}
NOISE = {"clip_sample": False, "prediction_type": "sample", "beta_start": 1e-4, "beta_end": 0.02}


def build(**settings: object) -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(TileViT(**VIT), decoder_dim=8, decoder_layers=1, decoder_heads=2, **settings).eval()


def draw(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 32, 32, generator=draw(0))


def with_other_pixels(images: Tensor, places: Tensor) -> Tensor:
    """Images whose patches at places (B, M) have other pixels."""
    mask = torch.zeros(len(images), 16).scatter_(1, places, 1.0).reshape(-1, 1, 4, 4)
    mask = mask.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return torch.where(mask.bool(), torch.rand_like(images), images)


@pytest.mark.parametrize(("ratio", "hidden"), [(0.75, 12), (0.5, 8), (0.001, 1), (0.999, 15)])
def test_the_split_is_complementary_exact_and_different_by_image(ratio: float, hidden: int) -> None:
    seen, gone = build(mask_ratio=ratio).split(50, draw())
    assert gone.shape == (50, hidden) and seen.shape == (50, 16 - hidden)
    assert torch.equal(torch.cat((seen, gone), 1).sort(1).values, torch.arange(16).expand(50, -1))
    assert len({tuple(row) for row in gone.tolist()}) > 1


def test_the_encoder_does_not_see_hidden_pixels_and_sees_the_others(images: Tensor) -> None:
    network = build()
    seen, hidden = network.split(3, draw())
    class_token, tokens = network.encoder(images, seen)
    assert tokens.shape == (3, 4, 16)
    for other, same in ((with_other_pixels(images, hidden), True), (with_other_pixels(images, seen[:, :1]), False)):
        again = network.encoder(other, seen)
        assert torch.equal(again[0], class_token) == torch.equal(again[1], tokens) == same


def test_seeing_all_patches_equals_seeing_the_image(images: Tensor) -> None:
    network = build()
    whole = network.encoder(images)
    everything = network.encoder(images, torch.arange(16).expand(3, -1))
    assert all(torch.equal(a, b) for a, b in zip(whole, everything, strict=True))
    backwards = network.encoder(images, torch.arange(15, -1, -1).expand(3, -1))
    torch.testing.assert_close(backwards[1].flip(1), whole[1])


def test_no_prediction_hangs_on_hidden_pixels_without_noise(images: Tensor) -> None:
    network = build()
    _, hidden = network.split(3, draw())
    prediction, target = network(images, draw())
    again = network(with_other_pixels(images, hidden), draw())
    assert prediction.shape == target.shape == (3, 12, 192)
    assert torch.equal(again.prediction, prediction) and not torch.equal(again.target, target)


def test_targets_are_the_hidden_patches_normalized_one_by_one(images: Tensor) -> None:
    network = build()
    _, hidden = network.split(3, draw())
    target = network(images, draw()).target
    pixels = images.numpy().astype(np.float64)
    for image, places, found in zip(pixels, hidden.tolist(), target.numpy(), strict=True):
        for place, values in zip(places, found, strict=True):
            row, column = divmod(place, 4)
            patch = image[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].ravel()
            np.testing.assert_allclose(values, (patch - patch.mean()) / np.sqrt(patch.var() + 1e-6), atol=1e-4)


def test_with_noise_the_target_is_clean_and_the_decoder_sees_only_the_noisy_version(images: Tensor) -> None:
    network = build(noisy=True, patch_norm=False)
    scheduler = DDPMScheduler(**NOISE)
    given: list[tuple[Tensor, Tensor]] = []
    restore = network.restore

    def spied(class_token, tokens, seen, hidden, noisy, timesteps):
        given.append((noisy, timesteps))
        return restore(class_token, tokens, seen, hidden, noisy, timesteps)

    network.restore = spied
    output = network(images, draw(), Noising(scheduler))
    _, hidden = network.split(3, draw())
    clean = (patchify(images, 8) - PIXEL_MEAN) / PIXEL_STD
    assert torch.equal(output.target, clean.gather(1, hidden.unsqueeze(-1).expand(-1, -1, 192)))
    ((noisy, timesteps),) = given
    abar = scheduler.alphas_cumprod[timesteps].reshape(-1, 1, 1)
    noise = (noisy - abar.sqrt() * output.target) / (1 - abar).sqrt()
    assert abs(noise.mean()) < 0.1 and noise.std().item() == pytest.approx(1, abs=0.1)
    # Strength and content of the noisy version both tell.
    parts = (*network.encoder(images), torch.arange(16).expand(3, -1), hidden)
    first = restore(*parts, noisy, timesteps)
    assert not torch.equal(restore(*parts, noisy, 999 - timesteps), first)
    assert not torch.equal(restore(*parts, noisy + 1, timesteps), first)


def test_every_weight_of_both_networks_learns(images: Tensor) -> None:
    for network, noising in ((build(), None), (build(noisy=True), Noising(DDPMScheduler(**NOISE)))):
        prediction, target = network.train()(images, draw(), noising)
        (prediction - target).square().mean().backward()
        fixed = network.encoder.vit.patch_embedding.position_embeddings
        idle = [name for name, p in network.named_parameters() if p is not fixed and p.grad is None]
        assert idle == []


def test_patches_are_cut_row_by_row() -> None:
    image = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6).float()
    patches = patchify(image, 2)
    assert patches.shape == (1, 6, 8)
    assert torch.equal(patches[0, 4], image[0, :, 2:4, 2:4].flatten())


def test_what_does_not_fit_is_refused(images: Tensor) -> None:
    for settings in ({"mask_ratio": 1.0}, {"mask_ratio": 0.0}):
        with pytest.raises(ValueError, match="mask_ratio"):
            build(**settings)
    with pytest.raises(ValueError, match="32 px"):
        build()(torch.rand(1, 3, 64, 64), draw())
    with pytest.raises(ValueError, match="without noise"):
        build()(images, draw(), Noising(DDPMScheduler(**NOISE)))
    with pytest.raises(ValueError, match="with noise"):
        build(noisy=True)(images, draw())
