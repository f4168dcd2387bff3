"""Embedding of one tile with one function call."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.bundle_files import bundle_file
from hmgdm_monai.saving.encoder_file import load_encoder
from hmgdm_monai.transforms.tile_to_graph import channels_first


def embed_tile(image: ArrayLike, encoder: TileEncoder | Path | str | None = None) -> np.ndarray:
    """Embed a tile: superpixels, latents, graph encoder and pooling in one call.

    Args:
        image: (H, W, 3) uint8 RGB, of the size and at the scale that the encoder was trained on:
            ``encoder.tile_size_px`` and ``encoder.tile_mpp``; 256 px at 1 um per pixel by default.
        encoder: a loaded encoder, which stays on its device, or the path of a ``model.pt``, which is read at each call.
            None uses the encoder of the bundle, which is read once.

    Returns:
        The embedding (S,), float32.

    Raises:
        InputError: the image has another shape, type or size; or the encoder does not exist.

    Example:
        >>> import numpy as np
        >>> from hmgdm_monai import embed_tile
        >>> tile = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        >>> embed_tile(tile).ndim
        1
    """
    pixels = torch.from_numpy(channels_first(image))
    network = encoder_of(encoder)
    device = next(network.parameters()).device
    with torch.inference_mode():
        return np.asarray(network(pixels[None].to(device))[0].float().cpu())


def encoder_of(encoder: TileEncoder | Path | str | None) -> TileEncoder:
    """Return a loaded encoder in evaluation mode from the argument ``encoder`` of :func:`embed_tile`."""
    if isinstance(encoder, TileEncoder):
        return encoder.eval()
    if encoder is not None:
        return load_encoder(encoder)
    path = bundle_file("models/model.pt")
    return _shipped(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _shipped(path: Path, changed_ns: int) -> TileEncoder:
    return load_encoder(path)
