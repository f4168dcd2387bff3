"""The magnification of the objective that a slide was scanned with."""

from __future__ import annotations

import math
import os
from pathlib import Path


def objective_power(path: Path) -> float | None:
    """What the vendor wrote into the file, as OpenSlide finds it.

    Args:
        path: of the slide.

    Returns:
        Such as 20.0 for 20x; None where the file does not say, or OpenSlide does not read it.
    """
    import openslide

    if openslide.OpenSlide.detect_format(os.fspath(path)) is None:
        return None
    try:
        with openslide.OpenSlide(path) as slide:
            power = float(slide.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, "nan"))
    except (openslide.OpenSlideError, ValueError):  # a slide that another backend reads, or no number
        return None
    return power if math.isfinite(power) and power > 0 else None
