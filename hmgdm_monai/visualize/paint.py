"""Paint a tile from the windows of its superpixels."""

from __future__ import annotations

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.utils import convert_to_numpy

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import window_centers_px, window_starts
from hmgdm_monai.transforms.region_adjacency import check_label_map


def paint_superpixels(label_map: NdarrayOrTensor, windows: NdarrayOrTensor, pos: NdarrayOrTensor) -> np.ndarray:
    """Paint every superpixel with its own window, at the position where the window was cut.

    A pixel gets the value of its superpixel's window at this position (see
    :func:`~hmgdm_monai.transforms.entity_graph.cut_windows` for the positions); a pixel outside the window gets the
    value of the nearest pixel of the window.

    Args:
        label_map: (1, H, W) integer, labels 0 to V - 1, all present; -1, no superpixel, stays white.
        windows: (V, 3, w, w) float; values are clipped to [0, 1].
        pos: (V, 2) float32, centroids as (x, y) / (width, height), as in an entity graph.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: the shapes do not match, or the windows are not floats or not finite.
    """
    labels = check_label_map(convert_to_numpy(label_map), background=True)
    windows, pos = np.asarray(convert_to_numpy(windows)), np.asarray(convert_to_numpy(pos))
    height, width = labels.shape
    count = int(labels.max()) + 1
    if windows.ndim != 4 or windows.shape[:2] != (count, 3) or windows.shape[2] != windows.shape[3]:
        raise InputError(f"{count} superpixels need windows of shape ({count}, 3, w, w), not {windows.shape}.")
    if pos.shape != (count, 2):
        raise InputError(f"{count} superpixels need positions of shape ({count}, 2), not {pos.shape}.")
    if not np.issubdtype(windows.dtype, np.floating):
        raise InputError(f"Windows to paint must be floats in [0, 1], not {windows.dtype}; divide bytes by 255.")
    not_finite = int((~np.isfinite(windows)).any(axis=(1, 2, 3)).sum())
    if not_finite:
        raise InputError(f"{not_finite} of {count} windows hold values that are not finite; check what made them.")

    no_edges = torch.empty(2, 0, dtype=torch.int64)
    centers, _ = window_centers_px(torch.from_numpy(np.asarray(pos, np.float32)), no_edges, height, width)
    size = windows.shape[-1]
    tops, lefts = window_starts(centers[:, 1], height, size), window_starts(centers[:, 0], width, size)
    rows = np.clip(np.arange(height)[:, None] - tops[labels], 0, size - 1)
    columns = np.clip(np.arange(width)[None, :] - lefts[labels], 0, size - 1)
    painted = windows.transpose(0, 2, 3, 1)[labels, rows, columns]
    painted[labels < 0] = 1.0
    return np.rint(np.clip(painted, 0, 1) * 255).astype(np.uint8)
