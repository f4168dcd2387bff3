"""Measures of the distribution of attention over an image, with the same formulas for ViT tokens and graph vertices.

Attention of B images, H heads and N tokens is (B, H, N), non-negative; here each row is normalized to sum 1. If tokens
differ in size, as superpixels do, ``areas`` (B, N) weights them by area: attention is then even if the mass of each
token is proportional to its area. A token of area 0 counts as absent, so images with different numbers of tokens can be
padded (:func:`pad_graphs`) without changing any result. Without areas, all tokens are equal. All results are float64.

The formulas are standard ones. DiRL (Kapse et al., arXiv 2309.06439) discusses attention sparsity; the choice of
measures is ours.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_ROUNDING = 1e-6  # relative rounding of float32 attention: 6 tokens of 0.1 hold a mass of 0.6


def normalized_entropy(weights: Tensor, areas: Tensor | None = None) -> Tensor:
    """Entropy divided by log N: 1 for even attention, 0 for all attention on one token; 1 if there is only one token.

    With areas: 1 - KL(weights || areas) / log N, which is the same for equal areas. It can then be below 0 if most of
    the mass is on a token much smaller than the mean.

    Args:
        weights: attention (B, H, N).
        areas: (B, N); None for equal areas.

    Returns:
        (B, H).

    Raises:
        ValueError: the shapes do not match, or values are negative, not finite or all zero. This holds for all
            functions of this module.
    """
    mass, area = _shares(weights, areas)
    count = (area > 0).sum(-1)
    divergence = torch.special.xlogy(mass, _density(mass, area)).sum(-1)
    return torch.where(count > 1, 1 - divergence / count.clamp_min(2).double().log(), 1.0)


def gini(weights: Tensor, areas: Tensor | None = None) -> Tensor:
    """Gini coefficient: 0 for even attention; for one token 1 - 1 / N, or with areas 1 minus its share of the area.

    Args:
        weights: attention (B, H, N).
        areas: (B, N); None for equal areas.

    Returns:
        (B, H).
        (B, H).
    """
    mass, area = _shares(weights, areas)
    order = _density(mass, area).argsort(-1)
    mass, area = mass.gather(-1, order), area.expand_as(mass).gather(-1, order)
    # Twice the area under the Lorenz curve, one trapezoid for each token.
    return 1 - (area * (2 * mass.cumsum(-1) - mass)).sum(-1)


def mass_share(weights: Tensor, mass: float = 0.6, areas: Tensor | None = None) -> Tensor:
    """Smallest share of the tokens (or of the area) that holds at least ``mass`` of the attention.

    Whole tokens are counted, densest first. Even attention gives ``mass``, rounded up to whole tokens; all attention on
    one token gives 1 / N.

    Args:
        weights: attention (B, H, N).
        mass: share of the attention, in (0, 1].
        areas: (B, N); None for equal areas.

    Returns:
        (B, H).
    """
    if not 0 < mass <= 1:
        raise ValueError(f"mass must lie in (0, 1], not {mass}")
    held, area = _shares(weights, areas)
    area = area.expand_as(held)
    # Densities that differ only by rounding count as equal, and among equal ones the larger token is first. Otherwise
    # rounding, and thus the order of tokens, would influence the result for different areas.
    density = (_density(held, area).log() / _ROUNDING).round()
    by_area = area.argsort(dim=-1, descending=True)
    order = by_area.gather(-1, density.gather(-1, by_area).argsort(dim=-1, descending=True, stable=True))
    needed = (held.gather(-1, order).cumsum(-1) < mass - _ROUNDING).sum(-1, keepdim=True)
    return area.gather(-1, order).cumsum(-1).gather(-1, needed).squeeze(-1)


def head_cosine(weights: Tensor) -> Tensor:
    """Mean cosine between the attention of two heads, over all pairs of heads: 1 if all heads are equal.

    Args:
        weights: attention (B, H, N).

    Returns:
        (B,), NaN for a single head.
    """
    mass, _ = _shares(weights, None)
    heads = mass.shape[1]
    if heads == 1:
        return mass.new_full((len(mass),), math.nan)
    directions = F.normalize(mass, dim=-1)
    cosines = directions @ directions.transpose(1, 2)
    return (cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(-1)) / (heads * (heads - 1))


def region_mass_ratio(weights: Tensor, token_weights: Tensor, areas: Tensor | None = None) -> Tensor:
    """Share of attention on each region divided by its share of the area: 1 for even attention, 2 for twice as much.

    Args:
        weights: attention (B, H, N).
        token_weights: (B, N, R), share of each token that lies in each region
            (:func:`~hmgdm_monai.networks.layers.region_pooling.token_weights`).
        areas: (B, N); None for equal areas.

    Returns:
        (B, H, R), NaN for a region that is not in the image.
    """
    mass, area = _shares(weights, areas)
    if token_weights.ndim != 3 or token_weights.shape[:2] != (len(mass), mass.shape[-1]):
        raise ValueError(f"token weights of shape {tuple(token_weights.shape)} for attention {tuple(weights.shape)}")
    token_weights = token_weights.to(mass)
    due = area @ token_weights
    return torch.where(due > 0, (mass @ token_weights) / due, math.nan)


def pad_graphs(
    weights: Tensor,
    batch: Tensor,
    num_graphs: int,
    areas: Tensor | None = None,
    token_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Convert attention of the vertices of a batch of graphs to the input of the functions in this module.

    Args:
        weights: (V,), or (V, H) for several heads.
        batch: (V,) int64, index of the graph of each vertex, 0 to B - 1.
        num_graphs: number of graphs B.
        areas: (V,) area of each vertex, > 0, in any unit; None for equal areas.
        token_weights: (V, R) share of each vertex that lies in each region, or None.

    Returns:
        weights (B, H, N), areas (B, N) and token weights (B, N, R) or None, with N the size of the largest graph.
    """
    from torch_geometric.utils import to_dense_batch

    order = batch.argsort(stable=True)

    def pad(x: Tensor) -> Tensor:
        return to_dense_batch(x[order], batch[order], batch_size=num_graphs)[0]

    heads = weights.unsqueeze(-1) if weights.ndim == 1 else weights
    areas = torch.ones_like(weights.reshape(len(batch), -1)[:, 0]) if areas is None else areas
    return pad(heads).transpose(1, 2), pad(areas), None if token_weights is None else pad(token_weights)


def _shares(weights: Tensor, areas: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mass (B, H, N) and area (B, 1, N) of tokens, float64, each row summing to 1."""
    if weights.ndim != 3 or weights.shape[-1] == 0:
        raise ValueError(f"attention must be (B, H, N) with N > 0, not {tuple(weights.shape)}")
    mass = weights.detach().double()
    if areas is None:
        area = mass.new_ones(len(mass), mass.shape[-1])
    elif areas.shape == (len(mass), mass.shape[-1]):
        area = areas.detach().to(mass)
    else:
        raise ValueError(f"areas of shape {tuple(areas.shape)} for attention {tuple(weights.shape)}")
    area = area.unsqueeze(1)
    for name, values in (("attention", mass), ("areas", area)):
        sums = values.sum(-1)
        if not bool(((values >= 0).all(-1) & (sums > 0) & sums.isfinite()).all()):
            raise ValueError(f"{name} must be finite and not negative, with a sum above 0 in each image and head")
    if bool(((area == 0) & (mass > 0)).any()):
        raise ValueError("attention on a token of area 0, which counts as absent")
    return mass / mass.sum(-1, keepdim=True), area / area.sum(-1, keepdim=True)


def _density(mass: Tensor, area: Tensor) -> Tensor:
    """Mass divided by area, 0 for padding."""
    return torch.where(area > 0, mass / torch.where(area > 0, area, 1.0), 0.0)
