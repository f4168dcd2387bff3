"""Principal filters of patches that are closed under quarter turns and flips."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hmgdm_monai.errors import InputError


class SymmetricFilters(NamedTuple):
    """F whitened principal filters of patches.

    Attributes:
        filters: (F, 3, k, k), double. A turned or flipped filter is, up to sign, itself or its partner.
        partner: (F,) int64, the index of the other of a pair; its own of a filter without.
        even: (F,) bool, whether all turns and flips leave the filter as it is, sign included.
    """

    filters: Tensor
    partner: Tensor
    even: Tensor


class _Part(NamedTuple):
    """A part of the space of patches: orthonormal axes (3kk, n), evenness, and whether its filters have partners."""

    axes: Tensor
    even: bool
    pairs: bool


def fit_symmetric_filters(patches: Tensor, count: int) -> SymmetricFilters:
    """The first principal axes of patches and all their turned and flipped copies, each over its standard deviation.

    Tissue has no up and down, and so neither has the covariance of patches with their copies. It falls into five parts,
    those of the symmetries of the square (the dihedral group D4): patches that are even, or odd, in rows and columns
    alike, each with those that transposing leaves as they are or turns into their negative; and patches that are even
    in one direction and odd in the other, which a quarter turn takes into each other. The axes of each part are found
    for themselves; a pair of the last counts as two.

    Args:
        patches: (M, 3, k, k).
        count: F. Where room for one filter is left and a pair comes next, the next single one is taken.

    Raises:
        InputError: fewer patches than filters, or nothing varies in them.
    """
    side = patches.shape[-1]
    centred = (patches.double() - symmetric_mean(patches.double())).flatten(1)
    covariance = _symmetric(centred.T @ centred / max(1, len(centred)), side)
    found = []
    for part in _parts(side):
        variance, axes = torch.linalg.eigh(part.axes.T @ covariance @ part.axes)
        filters = (part.axes @ axes).T.reshape(-1, 3, side, side)
        found += [(value, filter_, part) for value, filter_ in zip(variance.clamp(min=0), filters, strict=True)]
    found.sort(key=lambda component: -component[0])
    variances = torch.tensor([value for value, _, part in found for _ in range(1 + part.pairs)])
    if len(patches) <= count or variances[0] < 1e-8:
        raise InputError(
            f"cannot fit {count} filters to {len(patches)} patches of variance {variances[0]:.2g}; "
            "give more windows of tissue"
        )
    # Damped whitening: components below the noise of the camera and of JPEG must not be blown up.
    floor = 0.1 * torch.quantile(variances, 0.3)
    chosen: list[Tensor] = []
    partner: list[int] = []
    even: list[bool] = []
    for value, filter_, part in found:
        place = len(chosen)
        if place + 1 + part.pairs > count:
            continue
        chosen += [copy / (value + floor).sqrt() for copy in ([filter_, filter_.mT] if part.pairs else [filter_])]
        partner += [place + 1, place] if part.pairs else [place]
        even += [part.even] * (1 + part.pairs)
    return SymmetricFilters(torch.stack(chosen), torch.tensor(partner), torch.tensor(even))


def symmetric_mean(patches: Tensor) -> Tensor:
    """Mean (3, k, k) of patches (M, 3, k, k) and all their turned and flipped copies."""
    return torch.stack(_copies(patches.mean(0))).mean(0)


def _copies(patch: Tensor) -> list[Tensor]:
    """The patch(es) (..., k, k) turned and flipped in all eight ways."""
    return [torch.rot90(side, turns, (-2, -1)) for side in (patch, patch.flip(-1)) for turns in range(4)]


def _symmetric(covariance: Tensor, side: int) -> Tensor:
    """Covariance (3kk, 3kk) of patches and their copies, from that of the patches alone."""
    total = torch.zeros_like(covariance)
    for order in _copies(torch.arange(3 * side**2).reshape(3, side, side)):
        index = order.flatten()
        total += covariance[index][:, index]
    return total / 8


def _parts(side: int) -> list[_Part]:
    """The five parts; of pairs, the axes of the filters that are even in rows and odd in columns."""
    unit = torch.eye(3 * side**2, dtype=torch.double).reshape(-1, 3, side, side)

    def parity(rows: int, columns: int) -> Tensor:
        half = unit + columns * unit.flip(-1)
        return (half + rows * half.flip(-2)) / 4

    def axes(projected: Tensor) -> Tensor:
        # A pixel and those that turns and flips take it to have one projection, up to sign; the first one's is taken.
        rows = projected.flatten(1)
        first = (rows != 0) & ((rows != 0).cumsum(1) == 1)
        rows = rows[first.diagonal()]
        return (rows / rows.norm(dim=1, keepdim=True)).T

    parts = [_Part(axes(parity(1, -1)), even=False, pairs=True)]
    for sign in (1, -1):
        for transposed in (1, -1):
            both = parity(sign, sign)
            part = axes((both + transposed * both.mT) / 2)
            if part.shape[1]:
                parts.append(_Part(part, even=sign == transposed == 1, pairs=False))
    return parts
