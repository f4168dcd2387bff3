"""Add noise to the hidden half of latent graphs, with a scheduler of diffusers."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

NOISE_INTENSITIES = ("dynamic", "fixed")


def noise_scheduler(
    num_timesteps: int = 1000, beta_start: float = 1e-7, beta_end: float = 0.02, prediction_type: str = "sample"
) -> DDPMScheduler:
    """Build a scheduler for latents: betas rise as a sigmoid, and samples are not clipped.

    Args:
        num_timesteps: number of timesteps T.
        beta_start: variance of the noise added at the first step.
        beta_end: variance of the noise added at the last step; 0.002 in the paper.
        prediction_type: what the denoiser predicts: "sample" (x0), "epsilon" or "v_prediction".
    """
    return DDPMScheduler(
        num_timesteps, beta_start, beta_end, "sigmoid", prediction_type=prediction_type, clip_sample=False
    )


class Noising:
    """Forward process z(t) = sqrt(abar_t) z + sqrt(1 - abar_t) eps with one timestep per graph.

    Args:
        scheduler: a ``DDPMScheduler``; None uses ``noise_scheduler()``. Its ``prediction_type`` is the target of the
            denoiser: "sample" (x0, as in the paper), "epsilon" or "v_prediction". ``clip_sample`` must be off, because
            latents are not bounded like pixels.
        noise_intensity: "dynamic" draws a new timestep per graph and step; "fixed" always uses ``fixed_timestep`` (the
            paper's ablation "noise intensity fixed").
        fixed_timestep: timestep of the fixed intensity; None uses the middle of the schedule.

    Raises:
        ValueError: the intensity is unknown, the timestep is outside the schedule, or the scheduler clips.

    Example:
        >>> import torch
        >>> from hmgdm_monai import Noising
        >>> noising = Noising()
        >>> noising.num_timesteps
        1000
        >>> latents, timesteps = torch.ones(5, 8), torch.full((5,), 999)  # five entities, the strongest noise
        >>> noisy = noising.add_noise(latents, torch.zeros(5, 8), timesteps)
        >>> bool(noisy.max() < 0.01)  # almost nothing is left of the latents
        True
    """

    def __init__(
        self,
        scheduler: DDPMScheduler | None = None,
        noise_intensity: str = "dynamic",
        fixed_timestep: int | None = None,
    ) -> None:
        scheduler = noise_scheduler() if scheduler is None else scheduler
        if noise_intensity not in NOISE_INTENSITIES:
            raise ValueError(f"noise_intensity must be one of {NOISE_INTENSITIES}, got {noise_intensity!r}")
        if scheduler.config.clip_sample:
            raise ValueError("the scheduler clips samples to [-1, 1]; latents are unbounded: set clip_sample=False")
        self.scheduler = scheduler
        self.noise_intensity = noise_intensity
        self.fixed_timestep = self.num_timesteps // 2 if fixed_timestep is None else fixed_timestep
        if not 0 <= self.fixed_timestep < self.num_timesteps:
            raise ValueError(f"fixed_timestep must lie in [0, {self.num_timesteps}), got {fixed_timestep}")

    @property
    def num_timesteps(self) -> int:
        """Number of timesteps T of the schedule."""
        return int(self.scheduler.config.num_train_timesteps)

    @property
    def signal_at_end(self) -> float:
        """Signal at the last timestep, abar_T: the share of the latents left in the strongest noise (0: nothing)."""
        return float(self.scheduler.alphas_cumprod[-1])

    def draw_timesteps(self, num_graphs: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw one timestep per graph, (B,) int64 on the CPU.

        Dynamic timesteps are antithetic: half are drawn uniformly as t, the other half are T - 1 - t, so that every
        batch contains weak and strong noise equally, and the loss varies less from step to step.

        Args:
            num_graphs: number of graphs B.
            generator: random generator on the CPU; None uses PyTorch's default.
        """
        if self.noise_intensity == "fixed":
            return torch.full((num_graphs,), self.fixed_timestep, dtype=torch.long)
        first = torch.randint(self.num_timesteps, ((num_graphs + 1) // 2,), generator=generator)
        return torch.stack((first, self.num_timesteps - 1 - first), dim=1).reshape(-1)[:num_graphs]

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Compute noisy latents (N, D) from clean ones (N, D), noise (N, D) and the timestep of each entity (N,).

        Args:
            latents: (N, D) clean latents.
            noise: (N, D) standard normal noise.
            timesteps: (N,) int64, timestep of each entity.
        """
        noisy: Tensor = self.scheduler.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Target of the denoiser, (N, D), for the scheduler's ``prediction_type``.

        Args:
            latents: (N, D) clean latents.
            noise: (N, D) noise that was added.
            timesteps: (N,) int64, timestep of each entity.
        """
        kind = self.scheduler.config.prediction_type
        if kind == "sample":
            return latents
        if kind == "epsilon":
            return noise
        velocity: Tensor = self.scheduler.get_velocity(latents, noise, timesteps)
        return velocity

    def predicted_latents(self, prediction: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Compute clean latents (N, D) from a prediction (N, D) of any type for noisy latents ``noisy`` (N, D).

        Args:
            prediction: (N, D) output of the denoiser.
            noisy: (N, D) noisy latents.
            timesteps: (N,) int64, timestep of each entity.
        """
        kind = self.scheduler.config.prediction_type
        if kind == "sample":
            return prediction
        abar: Tensor = self.scheduler.alphas_cumprod.to(noisy)[timesteps].unsqueeze(-1)
        if kind == "epsilon":
            return (noisy - (1 - abar).sqrt() * prediction) / abar.sqrt()
        return abar.sqrt() * noisy - (1 - abar).sqrt() * prediction
