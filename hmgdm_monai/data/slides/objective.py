"""Read the magnification of the objective with which a slide was scanned."""

from __future__ import annotations

import math
import os
from pathlib import Path


def objective_power(path: Path) -> float | None:
    """Read the objective power that the vendor stored in the file, through OpenSlide.

    Args:
        path: path of the slide.

    Returns:
        The power, for example 20.0 for 20x; None if the file has none, or if OpenSlide does not read it.
    """
    import openslide

    if openslide.OpenSlide.detect_format(os.fspath(path)) is None:
        return None
    try:
        with openslide.OpenSlide(path) as slide:
            power = float(slide.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, "nan"))
    except (openslide.OpenSlideError, ValueError):  # a slide for another backend, or not a number
        return None
    return power if math.isfinite(power) and power > 0 else None
