"""Scores of a tile's technical quality: focus, ink of a pen, folds, darkness and saturation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from monai.config import NdarrayOrTensor
from scipy import ndimage
from skimage.color import rgb2hsv
from skimage.measure import label, regionprops

from hmgdm_monai.transforms.superpixels import image_as_hwc

FOCUS_UM = 1.0  # focus is measured at about this scale, in um per px, so that it does not depend on the scanner's
COLOR_UM = 2.0  # and ink, folds and darkness at this one
TISSUE_OD = 0.12  # pixels with a higher mean optical density (natural logarithm) are tissue
BLOCK_PX = 32  # focus is measured in blocks of about this side
FOCUS_PERCENTILE = 25  # of the blocks' values: a quarter of the tissue may be out of focus
SOLID_UM = 15.0  # ink covers an area of at least this width
SOLID_SHARE = 0.9
FOLD_WIDTH_UM = 13.0  # dark structures that are narrower are nuclei and fibers
FOLD_LENGTH_UM = 90.0
FOLD_ASPECT = 2.5
FOLD_SOLIDITY = 0.75
FOLD_DENSITY = 1.3  # least optical density of a fold, relative to the median of the tile's tissue
FOLD_DARKNESS = -0.1  # least saturation minus brightness of a fold
DARK = 0.1  # pixels with a lower brightness are dark
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)


class QualityScores(NamedTuple):
    """Scores of one tile.

    Attributes:
        focus: ratio of the variance of the Laplacian at 1 px to that at 2 px, within tissue; the value that 75 % of the
            tissue reaches. Sharp tissue has 4 and more, tissue out of focus about 2; NaN without tissue.
        pen: share of the tile that is covered by blue, green, red or black ink.
        fold: share of the tile in dark, saturated bands.
        dark: share of the tile that is nearly black.
        saturation: mean saturation of the tissue, 0 to 1; NaN without tissue.
    """

    focus: float
    pen: float
    fold: float
    dark: float
    saturation: float


def quality_scores(image: NdarrayOrTensor, mpp: float | None = None) -> QualityScores:
    """Score the technical quality of one tile by simple rules.

    The rules were chosen on the same slides and tiles as the defaults of
    :class:`~hmgdm_monai.transforms.quality.QualityLimits`.

    *Focus* compares two scales of the same tissue, because the variance of the Laplacian itself (Pech-Pacheco et al.,
    ICPR 2000) grows with the amount of tissue and the strength of the stain. Blur removes the finer scale first.

    *Pen*: hue, saturation and brightness of the four usual inks, in areas at least 15 um wide. Blood that fills such
    an area can be taken for red ink.

    *Fold*: bands of tissue that are 1.3 times as dense as the median of the tile, dark and saturated (Bautista and
    Yagi, J Biomed Opt 2010), at least 13 um wide and 90 um long. A fold that fills the tile is not found.

    Args:
        image: (3, H, W) uint8.
        mpp: microns per pixel; None if unknown, which counts as 1.

    Raises:
        InputError: the image has another shape or type.

    Example:
        >>> import numpy as np
        >>> from hmgdm_monai.transforms.quality_scores import quality_scores
        >>> ink = np.broadcast_to(np.array([40, 70, 190], np.uint8)[:, None, None], (3, 64, 64))
        >>> quality_scores(ink).pen
        1.0
    """
    pixels, mpp = image_as_hwc(image), mpp or 1.0
    fine, _ = _reduced(pixels, mpp, FOCUS_UM)
    coarse, um_per_px = _reduced(pixels, mpp, COLOR_UM)
    smooth = ndimage.gaussian_filter(coarse.astype(np.float32) / 255, (2 / um_per_px, 2 / um_per_px, 0), truncate=2)
    hue, saturation, brightness = np.moveaxis(rgb2hsv(smooth), 2, 0)
    density = -np.log(np.maximum(smooth, 1 / 255)).mean(axis=2)
    tissue = density > TISSUE_OD
    return QualityScores(
        focus=_focus(fine),
        pen=_ink_share(360 * hue, saturation, brightness, um_per_px),
        fold=_fold_share(smooth, density, tissue, um_per_px),
        dark=float((brightness < DARK).mean()),
        saturation=float(saturation[tissue].mean()) if tissue.any() else float("nan"),
    )


def _reduced(pixels: np.ndarray, mpp: float, wanted_mpp: float) -> tuple[np.ndarray, float]:
    """Average whole blocks of pixels, to at most about `wanted_mpp`; return (h, w, 3) uint8 and its um per px."""
    factor = max(1, min(int(wanted_mpp / mpp + 0.25), *pixels.shape[:2]))
    if factor == 1:
        return pixels, mpp
    height, width = (side // factor for side in pixels.shape[:2])
    blocks = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8), mpp * factor


def _focus(pixels: np.ndarray) -> float:
    density = _DENSITY[pixels].mean(axis=2)
    fine = ndimage.gaussian_filter(density, 1.0, truncate=3)
    coarse = ndimage.gaussian_filter(fine, 3**0.5, truncate=3)  # together a sigma of 2
    tissue = ndimage.minimum_filter(coarse, 7) > TISSUE_OD  # without the edge of the tissue, which is sharp or not
    rows, columns = (max(1, side // BLOCK_PX) for side in density.shape)
    height, width = density.shape[0] // rows, density.shape[1] // columns

    def block_sums(values: np.ndarray) -> np.ndarray:
        cropped = values[: rows * height, : columns * width]
        return cropped.reshape(rows, height, columns, width).sum(axis=(1, 3), dtype=np.float64)

    enough = block_sums(tissue) > 0.5 * height * width
    if not enough.any():
        return float("nan")
    # The mean of a Laplacian is about 0, so its variance is the mean of its square.
    energy = [block_sums(ndimage.laplace(smooth) ** 2 * tissue)[enough] for smooth in (fine, coarse)]
    return float(np.percentile(energy[0] / np.maximum(energy[1], 1e-9), FOCUS_PERCENTILE))


def _ink_share(hue: np.ndarray, saturation: np.ndarray, brightness: np.ndarray, um_per_px: float) -> float:
    """Share of the pixels that are in a solid area of one ink; hue in degrees."""
    inks = (
        (hue > 180) & (hue < 245) & (saturation > 0.55),  # blue; hematoxylin is above 250
        (hue > 70) & (hue <= 180) & (saturation > 0.2),  # green
        ((hue > 345) | (hue < 25)) & (saturation > 0.65) & (brightness > 0.3),  # red; eosin is below 345
        (saturation < 0.6) & (brightness < 0.25) & (brightness > 0.04),  # black; darker pixels are fill
    )
    size = _odd(SOLID_UM / um_per_px)
    covered = np.zeros(hue.shape, dtype=bool)
    for ink in inks:
        if ink.any():
            core = ndimage.uniform_filter(ink.astype(np.float32), size) > SOLID_SHARE
            covered |= ndimage.maximum_filter(core, size) & ink
    return float(covered.mean())


def _fold_share(smooth: np.ndarray, density: np.ndarray, tissue: np.ndarray, um_per_px: float) -> float:
    if not tissue.any():
        return 0.0
    size = _odd(FOLD_WIDTH_UM / um_per_px)
    opened = ndimage.maximum_filter(ndimage.minimum_filter(density, size), size)
    colors = ndimage.gaussian_filter(smooth, (3.5 / um_per_px, 3.5 / um_per_px, 0), truncate=2)
    brightness = colors.max(axis=2)
    darkness = 1 - colors.min(axis=2) / np.maximum(brightness, 1e-6) - brightness
    dense = (opened > FOLD_DENSITY * np.median(density[tissue])) & (darkness > FOLD_DARKNESS)
    area = 0.0
    for region in regionprops(label(dense)):
        length, width = region.axis_major_length, max(region.axis_minor_length, 1.0)
        if length * um_per_px >= FOLD_LENGTH_UM and length >= FOLD_ASPECT * width and region.solidity >= FOLD_SOLIDITY:
            area += region.area
    return float(area / dense.size)


def _odd(size_px: float) -> int:
    """The nearest odd number, at least 1."""
    return 2 * max(0, round((size_px - 1) / 2)) + 1
