"""Restore the hidden half of latent graphs from noise, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.networks.encoders.graph_embedder import num_graphs
from hmgdm_monai.networks.methods.hmgdm import HMGDM


class RestoredLatents(NamedTuple):
    """Latents in their original scale; visible entities keep their own latents.

    Attributes:
        timestep: timestep of the prediction; 0 for the final latents.
        vertex_latents: (V, Z).
        edge_latents: (E, Z), None if edges have no latents.
    """

    timestep: int
    vertex_latents: Tensor
    edge_latents: Tensor | None


class HiddenSample(NamedTuple):
    """Result of sampling.

    Attributes:
        final: the restored latents.
        steps: intermediate predictions of the clean latents (x0), the noisiest first.
    """

    final: RestoredLatents
    steps: tuple[RestoredLatents, ...]


def ddim_scheduler(scheduler: DDPMScheduler, num_steps: int) -> DDIMScheduler:
    """Build a deterministic sampler (DDIM, eta = 0) with ``num_steps`` steps on the schedule of a ``DDPMScheduler``.

    The betas are passed as numbers, because diffusers' ``DDIMScheduler`` has no sigmoid schedule. Steps have "trailing"
    spacing, so the first timestep is T - 1, the strongest noise of training.

    Args:
        scheduler: scheduler of training.
        num_steps: number of sampling steps; divides T.

    Raises:
        ValueError: ``num_steps`` does not divide T. DDIM decreases by ``T // num_steps``, so with other numbers its
            noise levels differ from the timesteps given to the model.
    """
    total = int(scheduler.config.num_train_timesteps)
    if num_steps < 1 or total % num_steps:
        raise ValueError(f"num_steps must divide the {total} timesteps of the schedule, got {num_steps}")
    sampler = DDIMScheduler(
        num_train_timesteps=total,
        trained_betas=scheduler.betas.tolist(),
        prediction_type=scheduler.config.prediction_type,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    sampler.set_timesteps(num_steps)
    return sampler


def sample_hidden(
    model: HMGDM,
    graph: EntityGraph,
    vertex_visible: Tensor,
    edge_visible: Tensor,
    noising: Noising,
    num_steps: int = 50,
    generator: torch.Generator | None = None,
    keep_steps: int = 8,
) -> HiddenSample:
    """Restore the latents of hidden entities from noise, given the visible ones.

    Sampling starts from z(T) = sqrt(1 - abar_T) eps, which is the forward process applied to the mean latent (zero
    after standardization). If abar_T is near 0, this equals the end of the forward process in training. In the
    published schedule abar_T = 0.37: in training, sqrt(0.37) = 61 % of the clean latent remains in the strongest noise,
    so a start without it is outside the distribution that the model was trained on. Noise of unit variance would have
    the right variance, but the model would interpret part of it as content that is unrelated to the visible half. For
    good samples, train with a schedule whose abar_T is near 0 (``noising.signal_at_end``). A model trained at a fixed
    noise intensity was trained on only one timestep.

    The model is in evaluation mode during sampling, and no gradients are computed.

    Args:
        model: trained model.
        graph: latent graph, or a batch of them. Latents of hidden entities are not read; they may be NaN.
        vertex_visible: (V,) bool.
        edge_visible: (E,) bool.
        noising: forward process of training; its scheduler gives noise levels and prediction type.
        num_steps: number of denoising steps; divides T.
        generator: random generator of the initial noise, the only random part, on the CPU.
        keep_steps: number of intermediate predictions to keep for a figure, evenly spaced from first to last step.

    Returns:
        The restored latents, and ``min(keep_steps, num_steps)`` intermediate predictions of them.

    Raises:
        ValueError: ``num_steps`` does not divide T, or ``keep_steps`` is negative.
    """
    if keep_steps < 0:
        raise ValueError(f"keep_steps must not be negative, got {keep_steps}")
    sampler = ddim_scheduler(noising.scheduler, num_steps)
    kept = set(torch.linspace(0, num_steps - 1, min(keep_steps, num_steps)).round().long().tolist())
    sigma = (1 - noising.signal_at_end) ** 0.5
    steps = []
    with _evaluation(model), torch.no_grad():
        encoding = model.encode(graph, vertex_visible, edge_visible)
        vertices = sigma * torch.randn(graph.vertex_latents.shape, generator=generator).to(graph.vertex_latents)
        edges = None
        if encoding.edge_states is not None:
            edges = sigma * torch.randn(graph.edge_latents.shape, generator=generator).to(graph.edge_latents)

        def restored(timestep: int, new_vertices: Tensor, new_edges: Tensor | None) -> RestoredLatents:
            inverse = model.standardizer.inverse
            whole = torch.where(vertex_visible.unsqueeze(-1), graph.vertex_latents, inverse(new_vertices))
            if new_edges is None:
                return RestoredLatents(timestep, whole, None)
            whole_edges = torch.where(edge_visible.unsqueeze(-1), graph.edge_latents, inverse(new_edges))
            return RestoredLatents(timestep, whole, whole_edges)

        for number, timestep in enumerate(sampler.timesteps.tolist()):
            timesteps = torch.full((num_graphs(graph),), timestep, device=vertices.device)
            vertex_output, edge_output = model.denoise(
                graph, vertices, edges, encoding, vertex_visible, edge_visible, timesteps
            )
            vertices, clean_vertices = sampler.step(vertex_output, timestep, vertices, return_dict=False)
            clean_edges = None
            if edges is not None and edge_output is not None:
                edges, clean_edges = sampler.step(edge_output, timestep, edges, return_dict=False)
            if number in kept:
                steps.append(restored(timestep, clean_vertices, clean_edges))
        return HiddenSample(restored(0, vertices, edges), tuple(steps))


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode; afterwards restore the mode of each submodule, including frozen parts."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
