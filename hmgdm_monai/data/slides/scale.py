"""Microns per pixel: the plausible range, the values in TIFF tags, and one number from the two axes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmgdm_monai.errors import InputError

if TYPE_CHECKING:
    import tifffile

FINEST_MPP = 0.05
COARSEST_MPP = 20.0  # coarser values are a printer's resolution (72 dpi = 353 um), not a scanner's
SQUARE_TOLERANCE = 0.02  # maximum relative difference of the two sides of a pixel
WANTED = (
    f"microns per pixel from {FINEST_MPP:g} to {COARSEST_MPP:g} and no magnification (20x is about 0.5, 40x about 0.25)"
)
_UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # ResolutionUnit: inch, centimeter

# Microns per pixel along x and along y; None for an axis without a value.
Mpp = tuple[float | None, float | None]
UNKNOWN: Mpp = (None, None)


def plausible_mpp(value: Any, factor: float = 1.0) -> float | None:
    """`value * factor` if it is plausible for a microscope (0.05 to 20 um per pixel), otherwise None.

    Args:
        value: number, or text of a number.
        factor: factor to um.

    Example:
        >>> plausible_mpp("0.25"), plausible_mpp(40)  # 40 is a magnification
        (0.25, None)
    """
    try:
        mpp = float(value) * factor
    except (TypeError, ValueError, OverflowError):
        return None
    return mpp if FINEST_MPP <= mpp <= COARSEST_MPP else None


def square_mpp(path: Path, axes: Mpp) -> float | None:
    """Combine the two axes: their mean, or the only known value, or None.

    Args:
        path: path of the file, for the message.
        axes: microns per pixel along x and y.

    Raises:
        InputError: the sides of a pixel differ by more than 2 %, so tiles would be distorted.
    """
    known = [mpp for mpp in axes if mpp is not None]
    if not known:
        return None
    if max(known) > min(known) * (1 + SQUARE_TOLERANCE):
        raise InputError(
            f"{path}: its pixels are not square, {axes[0]:.4g} um wide and {axes[1]:.4g} um high; resample it to "
            "square pixels, or, if the file is wrong, give mpp in the manifest"
        )
    return sum(known) / len(known)


def tag_mpp(page: tifffile.TiffPage) -> Mpp:
    """Read Aperio's `MPP` from a page's description, otherwise its resolution tags; None if not plausible."""
    if found := re.search(r"\bMPP\s*=\s*([0-9.,eE+-]+)", page.description or ""):
        mpp = plausible_mpp(found[1].replace(",", "."))
        return mpp, mpp
    try:
        unit_um = _UNIT_UM.get(int(page.tags.valueof(296, default=2)))
    except (TypeError, ValueError):  # a damaged tag
        unit_um = None
    if unit_um is None:
        return UNKNOWN
    return _from_resolution(page.tags.valueof(282), unit_um), _from_resolution(page.tags.valueof(283), unit_um)


def _from_resolution(resolution: Any, unit_um: float) -> float | None:
    """Microns per pixel from a rational number of pixels per unit."""
    try:
        pixels, units = resolution
        return plausible_mpp(unit_um * units / pixels)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
