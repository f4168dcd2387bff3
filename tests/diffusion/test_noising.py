"""Noising against its closed form; targets and their inverses; timesteps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from hmgdm_monai.diffusion.noising import Noising

TYPES = ("sample", "epsilon", "v_prediction")


def scheduler(**options: object) -> DDPMScheduler:
    settings = {"beta_schedule": "sigmoid", "beta_start": 1e-7, "beta_end": 2e-3, "prediction_type": "sample"}
    return DDPMScheduler(**{**settings, "clip_sample": False, **options})


def abar() -> np.ndarray:
    """The published schedule in double precision."""
    betas = 1 / (1 + np.exp(-np.linspace(-6, 6, 1000))) * (2e-3 - 1e-7) + 1e-7
    return np.cumprod(1 - betas)


def draw(count: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, count, 5, generator=generator, dtype=torch.float64)
    return clean, noise, torch.randint(1000, (count,), generator=generator)


def test_signal_left_by_the_published_schedule() -> None:
    assert Noising(scheduler()).signal_at_end == pytest.approx(np.exp(-1), abs=2e-3)
    assert Noising(scheduler()).signal_at_end == pytest.approx(abar()[-1], rel=1e-4)


def test_equals_the_closed_form() -> None:
    """With the scheduler's own abar exactly; with one computed in double precision, to that of its singles."""
    forward_process = Noising(scheduler())
    clean, noise, times = draw()
    noisy = forward_process.add_noise(clean, noise, times)
    for signal, tolerance in (
        (forward_process.scheduler.alphas_cumprod.double()[times], 1e-14),
        (torch.from_numpy(abar())[times], 1e-4),
    ):
        expected = signal.sqrt()[:, None] * clean + (1 - signal).sqrt()[:, None] * noise
        torch.testing.assert_close(noisy, expected, rtol=0, atol=tolerance)


def test_targets() -> None:
    clean, noise, times = draw()
    signal = Noising(scheduler()).scheduler.alphas_cumprod.double()[times][:, None]
    expected = (clean, noise, signal.sqrt() * noise - (1 - signal).sqrt() * clean)
    for kind, target in zip(TYPES, expected, strict=True):
        ours = Noising(scheduler(prediction_type=kind)).target(clean, noise, times)
        torch.testing.assert_close(ours, target, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", TYPES)
def test_predicted_latents_invert_the_target(kind: str) -> None:
    forward_process, (clean, noise, times) = Noising(scheduler(prediction_type=kind)), draw()
    noisy, target = forward_process.add_noise(clean, noise, times), forward_process.target(clean, noise, times)
    torch.testing.assert_close(forward_process.predicted_latents(target, noisy, times), clean, rtol=0, atol=1e-12)


def test_nothing_to_noise() -> None:
    empty, times = torch.zeros(0, 5), torch.zeros(0, dtype=torch.long)
    for kind in TYPES:
        forward_process = Noising(scheduler(prediction_type=kind))
        assert forward_process.add_noise(empty, empty, times).shape == (0, 5)
        assert forward_process.target(empty, empty, times).shape == (0, 5)
        assert forward_process.predicted_latents(empty, empty, times).shape == (0, 5)


@pytest.mark.parametrize("num_graphs", [1, 2, 7, 64])
def test_dynamic_timesteps_are_antithetic(num_graphs: int) -> None:
    times = Noising(scheduler()).draw_timesteps(num_graphs, torch.Generator().manual_seed(0))
    assert times.shape == (num_graphs,) and times.dtype == torch.long
    assert times.min() >= 0 and times.max() < 1000
    pairs = times[: num_graphs // 2 * 2].reshape(-1, 2)
    assert (pairs.sum(1) == 999).all()


def test_dynamic_timesteps_cover_the_schedule() -> None:
    forward_process = Noising(scheduler(num_train_timesteps=10))
    times = forward_process.draw_timesteps(4000, torch.Generator().manual_seed(0))
    assert (torch.bincount(times, minlength=10) - 400).abs().max() < 100


def test_fixed_timesteps() -> None:
    assert Noising(scheduler(), "fixed").draw_timesteps(3).tolist() == [500] * 3
    assert Noising(scheduler(), "fixed", 0).draw_timesteps(3).tolist() == [0] * 3


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="noise_intensity"):
        Noising(scheduler(), "strong")
    with pytest.raises(ValueError, match="fixed_timestep"):
        Noising(scheduler(), "fixed", 1000)
    with pytest.raises(ValueError, match="clip_sample"):
        Noising(scheduler(clip_sample=True))
