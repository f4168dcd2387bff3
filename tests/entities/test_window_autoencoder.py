"""The entity autoencoder starts as principal components, and learns on from there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder

SMALL = {"window_px": 16, "patch_px": 4, "widths": (8, 8), "form_channels": 2, "texture_dim": 4, "num_filters": 8}


def draw_windows(count: int, seed: int = 0, side: int = 16) -> Tensor:
    """(N, 3, side, side) in [0, 1], smooth, so that a few components hold most of the variance."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    fine = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed + 1))
    return 0.8 * torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") + 0.2 * fine


@pytest.fixture(scope="module")
def windows() -> Tensor:
    return draw_windows(200)


@pytest.fixture(params=[(8, 8), ()], ids=["convolutions", "linear"])
def fitted(request: pytest.FixtureRequest, windows: Tensor) -> EntityAutoencoder:
    network = like_fitted(request.param)
    network.fit(windows, generator=torch.Generator().manual_seed(0))
    return network


def like_fitted(widths: tuple[int, ...]) -> EntityAutoencoder:
    """Codes of one size, with convolutions or without: without, nothing halves the side."""
    size = {"patch_px": 4} if widths else {"patch_px": 8}
    return EntityAutoencoder(**{**SMALL, **size, "widths": widths}).eval()


def test_a_fresh_fit_reconstructs_like_pca(fitted: EntityAutoencoder, windows: Tensor) -> None:
    from sklearn.decomposition import PCA

    unseen = draw_windows(20, seed=5)
    pca = PCA(fitted.form_dim, svd_solver="full").fit(windows.flatten(1).double().numpy())
    flat = unseen.flatten(1).double().numpy()
    expected = pca.inverse_transform(pca.transform(flat))
    with torch.no_grad():
        found = fitted(unseen).reconstruction.flatten(1).numpy()
    error = np.square(found - flat).mean()
    # Randomised, the decomposition finds nearly the same space.
    assert error == pytest.approx(np.square(expected - flat).mean(), rel=0.01)
    assert np.abs(found - expected).max() < 0.1
    assert error < 0.9 * np.square(flat - flat.mean(0)).mean()


def test_form_and_texture_codes_have_their_places(fitted: EntityAutoencoder, windows: Tensor) -> None:
    latents = fitted.encode(windows)
    assert latents.shape == (200, fitted.latent_dim) and fitted.latent_dim == 2 * 2 * 2 + 4
    # One scale for each code: unit variance on average over its channels.
    form, texture = latents[:, : fitted.form_dim], latents[:, fitted.form_dim :]
    assert form.var(0).mean().item() == pytest.approx(1.0, abs=0.05)
    assert texture.var(0).mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.allclose(latents.mean(0), torch.zeros(()), atol=1e-3)
    other = latents.clone()
    other[:, fitted.form_dim :] = 7.0
    assert torch.equal(fitted.decode(other), fitted.decode(latents))  # texture has no pixels of its own


def test_encoding_is_deterministic_and_row_by_row(fitted: EntityAutoencoder, windows: Tensor) -> None:
    fitted.train()  # even so: encode takes the mean
    latents = fitted.encode(windows)
    assert torch.equal(latents, fitted.encode(windows))
    assert torch.allclose(latents[:3], fitted.encode(windows[:3]), atol=1e-5)


def test_decoded_windows_are_pixels(fitted: EntityAutoencoder) -> None:
    decoded = fitted.decode(20.0 * torch.randn(10, fitted.latent_dim))
    assert decoded.shape == (10, 3, 16, 16)
    assert decoded.min() >= 0.0 and decoded.max() <= 1.0


def test_training_samples_and_evaluation_does_not(fitted: EntityAutoencoder, windows: Tensor) -> None:
    draw = lambda seed: fitted(windows, torch.Generator().manual_seed(seed)).reconstruction  # noqa: E731
    assert torch.equal(draw(0), draw(1))
    fitted.train()
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_fitting_is_reproducible_and_leaves_the_global_generator(windows: Tensor) -> None:
    def fit() -> EntityAutoencoder:
        torch.manual_seed(3)
        network = EntityAutoencoder(**SMALL)
        before = torch.get_rng_state()
        network.fit(windows, generator=torch.Generator().manual_seed(0))
        assert torch.equal(before, torch.get_rng_state())
        return network

    first, second = fit().state_dict(), fit().state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_kl_is_that_of_diagonal_gaussians(fitted: EntityAutoencoder, windows: Tensor) -> None:
    from torch.distributions import Normal, kl_divergence

    with torch.no_grad():
        mean, log_variance, _ = fitted.moments(windows)
        expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1).mean()
        assert fitted(windows).kl.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_state_dict_carries_the_fit(fitted: EntityAutoencoder, windows: Tensor) -> None:
    other = like_fitted((8, 8) if fitted.form else ())
    assert not other.fitted
    with pytest.raises(ValueError, match="not fitted"):
        other.encode(windows)
    other.load_state_dict(fitted.state_dict())
    assert other.fitted and torch.equal(other.encode(windows), fitted.encode(windows))


@pytest.mark.parametrize(
    "kind",
    [
        {"patch_px": 1, "shortcut": False, "texture_dim": 0},
        {"texture_dim": 0},
        {"widths": ()},
        {"second_filters": 6, "discriminant_dim": 3},
        {},
    ],
)
def test_every_parameter_learns(kind: dict, windows: Tensor) -> None:
    network = EntityAutoencoder(**{**SMALL, **kind})
    network.fit(windows, tiles=torch.arange(25).repeat_interleave(8))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    moved = {name: value.clone() for name, value in network.named_parameters()}
    losses = []
    for step in range(4):
        output = network(windows[:32], torch.Generator().manual_seed(step))
        assert output.reconstruction.shape == (32, 3, 16, 16) and output.latents.shape == (32, network.latent_dim)
        assert (output.texture is None) == (network.texture_dim == 0) == (output.texture_hat is None)
        loss = (output.reconstruction - windows[:32]).square().mean() + 1e-3 * output.kl
        if output.texture is not None:
            loss = loss + (output.texture_hat - output.texture).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    still = [name for name, value in network.named_parameters() if torch.equal(value, moved[name])]
    assert still == []


def test_two_scales_of_texture_make_a_code_of_the_same_size(windows: Tensor) -> None:
    network = EntityAutoencoder(**SMALL, texture_scales=(1, 2)).eval()
    network.fit(windows, generator=torch.Generator().manual_seed(0))
    output = network(windows[:7])
    assert output.texture.shape == output.texture_hat.shape == (7, 2 * 2 * SMALL["num_filters"])
    assert output.latents.shape == (7, network.latent_dim) and network.texture_dim == SMALL["texture_dim"]
    one_scale = EntityAutoencoder(**SMALL)
    assert one_scale.latent_dim == network.latent_dim


TILES = torch.arange(25).repeat_interleave(8)
CONTRAST = {**SMALL, "second_filters": 6, "discriminant_dim": 3}


def test_discriminants_stand_behind_the_components(windows: Tensor) -> None:
    plain, network = EntityAutoencoder(**{**SMALL, "second_filters": 6}), EntityAutoencoder(**CONTRAST)
    plain.fit(windows, generator=torch.Generator().manual_seed(0))
    network.fit(windows, TILES, generator=torch.Generator().manual_seed(0))
    latents, before = network.eval().encode(windows), plain.eval().encode(windows)
    assert latents.shape == (200, plain.latent_dim + 3)
    torch.testing.assert_close(latents[:, :-3], before, rtol=0, atol=1e-5)
    own = latents[:, -3:]
    assert own.mean(0).abs().max() < 1e-3
    assert own.square().mean().item() == pytest.approx(1.0, rel=1e-3)
    # The decoder restores statistics from the components alone.
    torch.testing.assert_close(network(windows).texture_hat, plain(windows).texture_hat, rtol=0, atol=1e-4)
    torch.testing.assert_close(network(windows).reconstruction, plain(windows).reconstruction, rtol=0, atol=1e-5)


def test_discriminants_tell_tiles_apart_better_than_components() -> None:
    """Windows of a tile share a fine pattern that varies little; what varies most is drawn for each window anew."""
    draw = torch.Generator().manual_seed(3)
    strength = torch.rand(25, generator=draw)[TILES, None, None, None]
    pattern = torch.rand(1, 1, 16, 16, generator=draw) - 0.5
    windows = (draw_windows(200) + 0.3 * strength * pattern).clamp(0, 1)
    network = EntityAutoencoder(**CONTRAST).eval()
    network.fit(windows, TILES, generator=torch.Generator().manual_seed(0))
    latents = network.encode(windows)[:, network.form_dim :]

    def shared(values: Tensor) -> float:
        """Share of the variance that lies between tiles, of the column where it is largest."""
        means = values.reshape(25, 8, -1).mean(1)
        return (means.var(0) / values.var(0)).max().item()

    assert shared(latents[:, 4:]) > 1.2 * shared(latents[:, :4])


def test_discriminants_attend_less_to_what_degrading_changes(windows: Tensor) -> None:
    degraded = windows.clone()
    degraded[::2] = torch.nn.functional.avg_pool2d(windows[::2], 3, stride=1, padding=1, count_include_pad=False)

    def moved(originals: Tensor | None) -> float:
        network = EntityAutoencoder(**CONTRAST).eval()
        network.fit(degraded, TILES, originals, generator=torch.Generator().manual_seed(0))
        change = network.encode(degraded[::2]) - network.encode(windows[::2])
        return change[:, -3:].square().mean().item()

    assert moved(windows) < 0.7 * moved(None)
    assert moved(degraded) == pytest.approx(moved(None))  # nothing was degraded


def test_what_cannot_be_built_or_fitted_says_so(windows: Tensor) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        EntityAutoencoder(window_px=20, patch_px=4, widths=(8, 8))
    with pytest.raises(ValueError, match="multiples of 8"):
        EntityAutoencoder(window_px=16, widths=(12,))
    with pytest.raises(ValueError, match="no code of 20"):
        EntityAutoencoder(window_px=16, widths=(8,), texture_dim=20, num_filters=8)
    with pytest.raises(ValueError, match="no code of 17"):
        EntityAutoencoder(window_px=16, widths=(8,), texture_dim=4, num_filters=8, discriminant_dim=17)
    with pytest.raises(ValueError, match="needs a texture code"):
        EntityAutoencoder(window_px=16, widths=(8,), texture_dim=0, discriminant_dim=3)
    with pytest.raises(ValueError, match="give fit the tile of each window"):
        EntityAutoencoder(**CONTRAST).fit(windows)
    with pytest.raises(ValueError, match="nothing would encode"):
        EntityAutoencoder(window_px=16, widths=(), shortcut=False)
    with pytest.raises(InputError, match="give more windows"):
        EntityAutoencoder(**SMALL).fit(windows[:3])
    with pytest.raises(InputError, match="give more windows"):
        EntityAutoencoder(**SMALL).fit(torch.full((100, 3, 16, 16), 0.5))
    network = EntityAutoencoder(**SMALL)
    with pytest.raises(ValueError, match=r"\(3, 16, 16\)"):
        network.encode(torch.rand(2, 3, 32, 32))
