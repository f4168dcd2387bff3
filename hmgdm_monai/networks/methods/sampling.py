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
    """Latents in their original scale; visible entities keep their own.

    Attributes:
        timestep: at which a prediction was made; 0 of the final latents.
        vertex_latents: (V, Z).
        edge_latents: (E, Z), None where edges carry no latents.
    """

    timestep: int
    vertex_latents: Tensor
    edge_latents: Tensor | None


class HiddenSample(NamedTuple):
    """What sampling gives.

    Attributes:
        final: the restored latents.
        steps: the predictions of the clean latents (x0) on the way, the noisiest first.
    """

    final: RestoredLatents
    steps: tuple[RestoredLatents, ...]


def ddim_scheduler(scheduler: DDPMScheduler, num_steps: int) -> DDIMScheduler:
    """Deterministic sampler (DDIM, eta = 0) on the noise schedule of a ``DDPMScheduler``, set to walk ``num_steps``.

    The betas themselves are handed over: diffusers' ``DDIMScheduler`` knows no sigmoid schedule. Steps are spaced
    "trailing", so that the walk starts at timestep T - 1, the strongest noise seen in training.

    Raises:
        ValueError: if ``num_steps`` does not divide T. DDIM steps down by ``T // num_steps``, so that with any other
            number its noise levels drift from the timesteps that the model is told.
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

    The walk starts from z(T) = sqrt(1 - abar_T) eps, which is what the forward process makes of the mean latent (zero,
    once standardized). Where abar_T is near 0, training ended there too. Under the published schedule abar_T = 0.37: in
    training sqrt(0.37) = 61 % of the clean latent shone through the strongest noise, so a start without it lies off the
    distribution that the model has learned from. Unit noise would have the right variance there, but the model would
    take part of it for content, made up at random and unrelated to the visible half. To sample in earnest, train with a
    schedule whose abar_T is near 0 (``noising.signal_at_end``). A model trained at a fixed noise intensity knows one
    timestep only.

    The model is put into evaluation for the time of sampling, and nothing is differentiated.

    Args:
        model: trained model.
        graph: latent graph, or a batch of them. Latents of hidden entities are not read; they may be NaN.
        vertex_visible: (V,) bool.
        edge_visible: (E,) bool.
        noising: the forward process of training; its scheduler gives noise levels and prediction type.
        num_steps: denoising steps, dividing T.
        generator: CPU source of the starting noise, the only random part.
        keep_steps: how many predictions to keep for a figure, spread evenly from the first step to the last.

    Returns:
        The restored latents, and ``min(keep_steps, num_steps)`` predictions of them on the way.

    Raises:
        ValueError: if ``num_steps`` does not divide T, or ``keep_steps`` is negative.
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
    """Evaluation mode for a while; afterwards every submodule is in the mode it had, frozen parts included."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
