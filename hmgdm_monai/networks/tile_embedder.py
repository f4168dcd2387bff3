"""From the pixels of tiles to their embeddings, in one module."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder
from hmgdm_monai.networks.hmgdm import HMGDM
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.stain import NormalizeStain
from hmgdm_monai.transforms.superpixels import Superpixels

_WINDOWS_STEP = 64


class TileToGraph:
    """The entity graph of a tile with its windows, as the model was trained on; picklable, and without weights.

    Args:
        superpixels: cuts a tile into entities.
        stain: normalises a tile before that; None leaves it as it is.
        window_px: side w of the instance windows.
    """

    def __init__(self, superpixels: Superpixels, stain: NormalizeStain | None = None, window_px: int = 32) -> None:
        self.superpixels, self.stain, self.window_px = superpixels, stain, window_px

    def __call__(self, image: Tensor, keep_label_map: bool = False) -> EntityGraph:
        """Graph of a tile (3, S, S) uint8, with ``vertex_windows`` and ``edge_windows``, on the CPU."""
        if self.stain is not None:
            image = self.stain(image)
        return build_entity_graph(image, self.superpixels(image), self.window_px, keep_label_map=keep_label_map)


def latent_graph(autoencoder: EntityAutoencoder, graph: EntityGraph, batch_windows: int = 1024) -> EntityGraph:
    """The same (batch of) graph(s) with latents of all entities in place of their windows.

    Args:
        autoencoder: of stage 1, on the graph's device.
        graph: with windows.
        batch_windows: most windows encoded at once; on a CPU 4,096 took half as long again as 1,024.
    """
    latents = graph.clone()
    parts = [latents.pop(f"{part}_windows") for part in ("vertex", "edge")]
    windows = torch.cat(parts)
    count = len(windows)
    # Convolutions on a CPU keep compiled code and memory for every batch size that they have met: on a long slide that
    # grew by hundreds of MB. Whole steps leave them few sizes to meet.
    missing = -count % _WINDOWS_STEP
    windows = torch.cat((windows, windows.new_zeros(missing, *windows.shape[1:])))
    codes = torch.cat([autoencoder.encode(some.float() / 255.0) for some in windows.split(batch_windows)])[:count]
    latents.vertex_latents, latents.edge_latents = codes.split([len(part) for part in parts])
    return latents


class TileEmbedder(nn.Module):
    """Entity autoencoder and H-MGDM encoder, one after the other.

    Args:
        autoencoder: of stage 1.
        hmgdm: of stage 2.
        to_graph: builds the graph of a tile.
        batch_windows: most windows that go through the autoencoder at once.
    """

    def __init__(
        self, autoencoder: EntityAutoencoder, hmgdm: HMGDM, to_graph: TileToGraph, batch_windows: int = 1024
    ) -> None:
        super().__init__()
        self.autoencoder, self.hmgdm, self.to_graph = autoencoder, hmgdm, to_graph
        self.batch_windows = batch_windows

    def forward(self, tiles: Tensor | EntityGraph) -> Tensor:
        """Embeddings (B, S) of tiles.

        Args:
            tiles: images (B, 3, H, W) of values 0 to 255, whose graphs are then built here, on the CPU and one by one;
                or a batch of graphs with windows.
        """
        if isinstance(tiles, Tensor):
            pixels = tiles.detach().round().clamp(0, 255).to(torch.uint8).cpu().numpy()
            graphs = [self.to_graph(image) for image in pixels]
            tiles = Batch.from_data_list(graphs).to(tiles.device)
        return self.hmgdm.embed(latent_graph(self.autoencoder, tiles, self.batch_windows))

    def digest(self) -> str:
        """SHA-256 of all weights that an embedding depends on, and of the choices that have none."""
        sha = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            if not name.startswith("hmgdm.denoiser."):
                sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        sha.update(repr((self.hmgdm.readout.statistics, self.to_graph.window_px)).encode())
        return sha.hexdigest()
