"""Representations with little or no learning; a learned representation should be better."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hmgdm_monai.data.entity_graph import EntityGraph


def color_texture(image: np.ndarray) -> np.ndarray:
    """Color and texture of a tile (H, W, 3) uint8 -> (61,).

    Mean and standard deviation of Lab and HED, 10th, 50th and 90th percentile of Lab; uniform local binary patterns at
    radius 1 and 3; contrast, homogeneity, energy and correlation of gray level co-occurrence at 1, 3 and 8 px.
    """
    from skimage.color import rgb2hed, rgb2lab
    from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

    lab, hed = rgb2lab(image).reshape(-1, 3), rgb2hed(image).reshape(-1, 3)
    parts = [lab.mean(0), lab.std(0), hed.mean(0), hed.std(0), np.percentile(lab, (10, 50, 90), axis=0).ravel()]
    gray = image.mean(2).astype(np.uint8)
    for points, radius in ((8, 1), (16, 3)):
        codes = local_binary_pattern(gray, points, radius, "uniform").astype(int)
        parts.append(np.bincount(codes.ravel(), minlength=points + 2) / codes.size)
    pairs = graycomatrix(gray // 8, (1, 3, 8), (0, np.pi / 2), levels=32, symmetric=True, normed=True)
    parts += [graycoprops(pairs, name).mean(1) for name in ("contrast", "homogeneity", "energy", "correlation")]
    return np.concatenate(parts)


def pooled(*parts: np.ndarray) -> np.ndarray:
    """Mean and standard deviation over each part, vertices (V, D) and edges (E, D) -> (4D,); vertices alone (2D,)."""
    return np.concatenate([statistic(values, axis=0) for values in parts for statistic in (np.mean, np.std)])


def pooled_latents(graphs: Iterable[EntityGraph]) -> np.ndarray:
    """Plain pooling of latents: (N, 4Z), or (N, 2Z) where edges have none."""
    names = ("vertex_latents", "edge_latents")
    return np.stack([pooled(*(graph[name].numpy() for name in names if name in graph)) for graph in graphs])
