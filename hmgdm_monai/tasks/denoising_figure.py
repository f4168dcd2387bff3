"""A figure of the denoising of a tile: how the model restores hidden superpixels, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
from hmgdm_monai.networks.methods.hmgdm import HMGDM
from hmgdm_monai.networks.methods.sampling import sample_hidden

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@torch.no_grad()
def denoising_figure(
    superpixels: NearestSuperpixels,
    hmgdm: HMGDM,
    noising: Noising,
    image: np.ndarray | Tensor,
    label_map: np.ndarray | Tensor,
    latent: EntityGraph,
    num_steps: int = 50,
    seed: int = 0,
    note: str | None = None,
    entities: str = "superpixels",
) -> Figure:
    """Hide a part of a tile's graph, restore it from noise, and draw the steps.

    Args:
        superpixels: index that finds a superpixel image for each latent.
        hmgdm: restores the latents of hidden entities; on the CPU, in evaluation mode.
        noising: forward process of its training.
        image: (3, H, W) uint8, the tile.
        label_map: (1, H, W), its superpixels.
        latent: its latent graph.
        num_steps: number of steps of the sampler; it must divide the number of timesteps.
        seed: seed of the split and of the noise.
        note: small print at the bottom.
        entities: name of the vertices, in the plural.
    """
    from hmgdm_monai.visualize.denoising import draw_denoising, hidden_pixels
    from hmgdm_monai.visualize.paint import paint_superpixels

    graph = Batch.from_data_list([latent])
    generator = torch.Generator().manual_seed(seed)
    vertex_visible, edge_visible = hmgdm.split(graph, generator)
    sample = sample_hidden(hmgdm, graph, vertex_visible, edge_visible, noising, num_steps, generator, keep_steps=4)

    def painted(latents: Tensor) -> np.ndarray:
        return paint_superpixels(label_map, superpixels.windows(latents), graph.pos)

    return draw_denoising(
        image,
        [painted(step.vertex_latents) for step in (*sample.steps, sample.final)],
        [f"t = {step.timestep}" for step in sample.steps] + ["restored"],
        hidden_pixels(label_map, vertex_visible),
        painted(graph.vertex_latents),
        note=note,
        entities=entities,
    )
