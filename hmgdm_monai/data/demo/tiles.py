"""Select the squares of a demo slide that become labeled tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmgdm_monai.data.demo.layout import GRID_UM, TissueLayout
from hmgdm_monai.data.demo.patient import TISSUES

TILE_UM = 256.0
MIN_TISSUE = 0.6
MIN_SHARE = 0.45
MIN_STROMA = 0.75
_STRIDE_UM = 16.0
_RAREST_FIRST = ("necrosis", "lymphocytes", "gland", "tumor", "stroma")


@dataclass(frozen=True)
class TilePlace:
    """A tile: top-left corner (micrometers from the slide's) and the tissue that dominates it."""

    x_um: float
    y_um: float
    label: str


def pick_tiles(layout: TissueLayout, per_tissue: int = 3) -> list[TilePlace]:
    """Select squares of `TILE_UM` in which one tissue clearly dominates.

    A square qualifies if at least `MIN_TISSUE` of it is tissue, and one tissue is at least `MIN_SHARE` of that and at
    least twice as much as any other tissue except stroma. Stroma fills the gaps of all other tissues, so it does not
    count against them; it dominates itself from a share of `MIN_STROMA`. Rare tissues choose first, squares with the
    largest share first, and no two squares of a slide overlap.

    Args:
        layout: the tissue map of the slide.
        per_tissue: maximum number of tiles per label.

    Returns:
        The tiles; empty if no square qualifies.
    """
    side = round(TILE_UM / GRID_UM)
    stride = round(_STRIDE_UM / GRID_UM)
    counts = np.stack([_box_sums(layout.classes == i, side)[::stride, ::stride] for i in range(len(TISSUES))])
    tissue_count = counts.sum(0)
    shares = counts / np.maximum(tissue_count, 1)
    others = np.stack([np.delete(shares, [0, i], axis=0).max(0) for i in range(len(TISSUES))])
    dominates = (shares >= MIN_SHARE) & (shares >= 2.0 * others)
    dominates[0] = shares[0] >= MIN_STROMA
    dominates &= tissue_count >= MIN_TISSUE * side**2
    free = np.ones_like(dominates[0])
    reach = -(-side // stride)

    places = []
    for tissue in _RAREST_FIRST:
        kind = TISSUES.index(tissue)
        for _ in range(per_tissue):
            score = np.where(free & dominates[kind], counts[kind], 0)
            row, column = np.unravel_index(int(score.argmax()), score.shape)
            if score[row, column] == 0:
                break
            places.append(TilePlace(float(column * stride * GRID_UM), float(row * stride * GRID_UM), tissue))
            free[max(row - reach + 1, 0) : row + reach, max(column - reach + 1, 0) : column + reach] = False
    return places


def _box_sums(mask: np.ndarray, side: int) -> np.ndarray:
    """Number of True values in each side x side box, (H - side + 1, W - side + 1)."""
    sums = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
