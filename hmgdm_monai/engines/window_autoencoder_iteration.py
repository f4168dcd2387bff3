"""One training step of the window autoencoder, stage 1 of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.draws import BatchDraws
from hmgdm_monai.engines.iteration import SelfSupervisedIteration
from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder
from hmgdm_monai.ranks import mean_weight
from hmgdm_monai.transforms.entity_windows import graph_windows


class WindowAutoencoderIteration(SelfSupervisedIteration):
    """Reconstruct windows around vertices, and windows around edges if the autoencoder encodes edges.

    Args:
        loss: :class:`hmgdm_monai.losses.window_autoencoder.WindowAutoencoderLoss`.
        windows_per_tile: number of windows to draw per tile of a batch; vertices and edges are drawn alike.
        seed: seed of the run.
        max_grad_norm: maximum norm of the gradients; None does not clip.
    """

    def __init__(
        self, loss: nn.Module, windows_per_tile: int = 32, seed: int = 0, max_grad_norm: float | None = 10.0
    ) -> None:
        super().__init__(loss, seed, max_grad_norm)
        self.windows_per_tile = windows_per_tile

    def compute(
        self, network: WindowAutoencoder, batch: EntityGraph, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the loss on windows drawn evenly over the batch, and their latents (N, D) for monitoring."""
        draws = BatchDraws(batch, generator, shared=network.training)
        vertices, edges = graph_windows(batch, network.window_px, network.edge_latents)
        windows = vertices if edges is None else torch.cat((vertices, edges))
        chosen, among = draws.choose(self.windows_per_tile * draws.num_graphs, edges=edges is not None)
        windows = windows[chosen.cpu()].to(batch.pos.device)
        output = network.reconstruct(windows, generator, among)
        loss = self.loss(output.reconstruction, windows.float() / 255.0, output.kl)
        if network.training:
            loss = loss * mean_weight(len(windows), windows.device)  # each term of the loss is a mean over windows
        return loss, output.latents
