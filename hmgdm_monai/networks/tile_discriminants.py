"""Directions in which tiles differ most for how much windows of one tile do: linear discriminants without labels."""

from __future__ import annotations

import torch
from torch import Tensor

from hmgdm_monai.errors import InputError


def tile_discriminants(
    values: Tensor,
    tiles: Tensor,
    count: int,
    changes: Tensor | None = None,
    ridge: float = 1.0,
    change_weight: float = 25.0,
) -> Tensor:
    """The ``count`` directions a of largest a' S_b a / a' (S_w + c C + r I) a, each tile being a class of its own.

    S_w is the covariance of values within tiles; S_b that of the means of tiles, less what S_w alone would give them;
    C the second moment of ``changes``. Fisher's criterion, where C counts with weight c, since blur moves all windows
    of a tile alike: their mean, which evens out what differs within a tile, keeps it. r is ``ridge`` times the mean
    variance within tiles.

    Args:
        values: (N, P), of windows; their columns of like scale.
        tiles: (N,) integer, which tile each window is of.
        count: how many directions, at most P.
        changes: (M, P), by how much values of windows moved where something was done to them that says nothing of the
            tissue; None for nothing.
        ridge: strength of the shrinkage.
        change_weight: c.

    Returns:
        (P, count), the best first, of the type of ``values``.

    Raises:
        ValueError: more directions than columns.
        InputError: all windows are of one tile, or no tile has two of them.
    """
    if count > values.shape[1]:
        raise ValueError(f"{values.shape[1]} columns have no {count} directions")
    _, tile, sizes = torch.unique(tiles, return_inverse=True, return_counts=True)
    wide = values.double()
    if len(sizes) < 2 or len(sizes) == len(wide):
        raise InputError(
            f"cannot tell tiles apart by {len(wide)} windows of {len(sizes)}; give several windows of two tiles or more"
        )
    means = torch.zeros(len(sizes), wide.shape[1], dtype=wide.dtype, device=wide.device).index_add_(0, tile, wide)
    means /= sizes.unsqueeze(1)
    deviations = wide - means[tile]
    within = deviations.T @ deviations / (len(wide) - len(sizes))
    between = torch.cov(means.T) - within / sizes.double().mean()
    spread = within + ridge * within.diagonal().mean() * torch.eye(len(within)).to(within)
    if changes is not None and len(changes):
        spread += change_weight * (changes.double().T @ changes.double()) / len(changes)
    # a = L^-T b with spread = L L': a symmetric problem in b.
    root = torch.linalg.cholesky(spread)
    half = torch.linalg.solve_triangular(root, between, upper=False)
    whole = torch.linalg.solve_triangular(root, half.T, upper=False)
    _, axes = torch.linalg.eigh(0.5 * (whole + whole.T))
    found = torch.linalg.solve_triangular(root.T, axes.flip(1)[:, :count], upper=True)
    return found.to(values)
