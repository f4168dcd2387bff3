"""Embeddings of graphs that another program has made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch_geometric.loader import DataLoader

from hmgdm_monai.data.manifest.manifest import Manifest
from hmgdm_monai.data.stores.latent_store import LatentStore
from hmgdm_monai.entities.given_entities import GivenEntities
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.preparation.given_graphs import build_given_graphs


def embed_given_graphs(
    encoder: GraphTileEncoder,
    manifest: Manifest | Path | str,
    folder: Path | str,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> tuple[np.ndarray, list[str]]:
    """Embed all graphs of a manifest with an encoder that was trained on such graphs.

    Args:
        encoder: encoder of :func:`~hmgdm_monai.saving.encoder_file.load_encoder`.
        manifest: the cohort, or the path of its CSV, with a column ``graphs``.
        folder: folder of the stores.
        batch_size: number of graphs per batch.
        device: device of the network.
        progress: show a progress bar over files on stderr.

    Returns:
        Embeddings (N, S) float32, and the row id (N) of each graph.

    Raises:
        InputError: the encoder was trained on tiles, or on graphs with latents of another size; or no file can be used.
    """
    if encoder.kind != GraphTileEncoder.kind or not isinstance(encoder.entities, GivenEntities):
        raise InputError("the model was trained on tiles, not on graphs; embed images with inference.json")
    cohort = build_given_graphs(manifest, folder, progress=progress)
    store = LatentStore(cohort.paths, edges=encoder.entities.edge_latents)
    encoder.to(device).eval()
    with torch.inference_mode():
        parts = [
            encoder.embed(encoder.prepare(batch.to(device))).float().cpu().numpy()
            for batch in DataLoader(store, batch_size=batch_size)
        ]
    return np.concatenate(parts), [store.tile_info(index).row_id for index in range(len(store))]
