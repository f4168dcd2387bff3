"""Build the entity graph of a tile given as an ordinary RGB image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.build_cutter import build_cutter
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.stain import NormalizeStain


def tile_to_graph(
    image: ArrayLike, mpp: float | None = None, stain_method: str | None = None, **entities: Any
) -> EntityGraph:
    """Divide a tile into entities and connect those that touch: the entity graph of the tile, without latents.

    Args:
        image: (H, W, 3) uint8 RGB, as in scikit-image, Pillow and OpenSlide.
        mpp: microns per pixel; None if unknown. Cells (``entity_kind="cells"``) need it.
        stain_method: stain normalization to apply first, "macenko"; None keeps the colors.
        **entities: arguments of :func:`hmgdm_monai.transforms.build_cutter.build_cutter`, for example ``entity_kind``
            ("superpixels", "squares" or "cells"), ``n_segments`` and ``compactness``.

    Returns:
        The graph, V vertices and E edges, with ``pos`` (V, 2), ``edge_index`` (2, E), ``image`` (1, 3, H, W) uint8,
        ``label_map`` (1, H, W) int32 and ``mpp`` (1,).

    Raises:
        InputError: the image has another shape or type, a setting is out of range, or the tile shows no entity.

    Example:
        >>> import numpy as np
        >>> from hmgdm_monai import tile_to_graph
        >>> tile = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        >>> graph = tile_to_graph(tile, mpp=1.0, entity_kind="squares", n_segments=16)
        >>> graph.num_vertices, graph.edge_index.shape[1]
        (16, 24)
    """
    pixels = np.asarray(NormalizeStain(stain_method)(channels_first(image)))
    cutter = build_cutter(**entities)
    if cutter is None:
        raise InputError("entity_kind graphs is for graphs without tiles; choose another kind")
    label_map, edge_index = cutter.cut(pixels, mpp)
    return build_entity_graph(pixels, label_map, edge_index=edge_index, mpp=mpp)


def channels_first(image: ArrayLike) -> np.ndarray:
    """Convert a tile (H, W, 3) uint8 to (3, H, W).

    Raises:
        InputError: the image has another shape or type.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise InputError(
            f"a tile must be an RGB image (H, W, 3) uint8, not {pixels.shape} {pixels.dtype}; if it has four channels, "
            "give the first three, image[..., :3]"
        )
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
