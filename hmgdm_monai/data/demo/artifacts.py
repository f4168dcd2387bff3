"""Draw artifacts into a demo slide, pen marks, regions out of focus and folds, and keep a map of where they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hmgdm_monai.data.demo.layout import GRID_UM, TissueLayout
from hmgdm_monai.data.demo.noise import fractal_field
from hmgdm_monai.data.demo.patient import PatientPlan

ARTIFACTS = ("none", "pen", "blur", "fold")
"""Meaning of the values of an artifact map."""

INKS = {"blue": (1.9, 1.2, 0.25), "green": (1.6, 0.35, 1.1), "red": (0.2, 1.9, 1.7), "black": (2.1, 2.1, 2.0)}
"""Optical density (natural logarithm) of each ink in R, G, B."""

_ARTIFACT_STREAM = 5
_PROBABILITY = 0.6  # of each kind, per slide
_LIGHT = 244.0


def draw_artifacts(
    image: NDArray[np.uint8], plan: PatientPlan, layout: TissueLayout, mpp: float
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a fold, a region out of focus and a pen mark into a slide, each with a probability of 0.6.

    A fold is a band in which the tissue lies twice: the optical density of the neighboring band is added. A region out
    of focus is blurred by 3 to 6 um; the noise of the camera is not. A pen mark of one of `INKS` absorbs light on top
    of the tissue. The draws depend only on the patient.

    Args:
        image: (S, S, 3) uint8, the slide without artifacts.
        plan: the patient.
        layout: the patient's tissues.
        mpp: microns per px of the image.

    Returns:
        The slide with artifacts, (S, S, 3) uint8, and the artifact map (S mpp / GRID_UM, same) uint8, whose values are
        indices of `ARTIFACTS`. Folds and blur are marked only on tissue.
    """
    rng = plan.rng(_ARTIFACT_STREAM)
    # All draws are made, whether they are used or not, so that one kind does not depend on another.
    chosen = rng.uniform(size=3) < _PROBABILITY
    path_of_fold, path_of_pen = _path(rng, layout), _path(rng, layout)
    fold_um, pen_um, sigma_um = rng.uniform(35.0, 80.0), rng.uniform(80.0, 160.0), rng.uniform(3.0, 6.0)
    focus_seed, pen_seed, noise_seed = (int(seed) for seed in rng.integers(2**30, size=3))
    blur_share, ink = rng.uniform(0.12, 0.3), INKS[list(INKS)[int(rng.integers(len(INKS)))]]

    tissue = layout.classes >= 0
    marked = np.zeros(tissue.shape, np.uint8)
    density = -np.log(np.maximum(image, 1) / _LIGHT).astype(np.float32)
    if chosen[2]:
        band = _band(path_of_fold, tissue.shape[0], fold_um)
        density += _enlarged(band, image.shape[0]) * _shifted(density, fold_um / mpp)
        marked[(band > 0.5) & tissue] = ARTIFACTS.index("fold")
    if chosen[1]:
        region = _region(focus_seed, tissue, blur_share)
        density = _out_of_focus(density, _enlarged(region, image.shape[0]), sigma_um / mpp, noise_seed)
        marked[(region > 0.5) & tissue] = ARTIFACTS.index("blur")
    if chosen[0]:
        band = _band(path_of_pen, tissue.shape[0], pen_um)
        uneven = 1.0 + 0.12 * fractal_field(tissue.shape[0], GRID_UM, 120.0, 2, pen_seed)
        strength = _enlarged(band * uneven, image.shape[0])
        density += strength * np.array(ink, np.float32)
        marked[band > 0.5] = ARTIFACTS.index("pen")
    return np.clip(np.rint(_LIGHT * np.exp(-density)), 0, 255).astype(np.uint8), marked


def _path(rng: np.random.Generator, layout: TissueLayout) -> Callable[[NDArray, NDArray], NDArray]:
    """Draw a slightly curved line through the tissue; return the distance (micrometers) of points (x, y) from it."""
    rows, columns = np.nonzero(layout.classes >= 0)
    spot = int(rng.integers(max(len(rows), 1)))
    x0, y0 = (columns[spot] * GRID_UM, rows[spot] * GRID_UM) if len(rows) else (layout.side_um / 2,) * 2
    angle, bend = rng.uniform(0, math.pi), rng.uniform(-0.6, 0.6) / layout.side_um
    half_um = 0.5 * rng.uniform(0.45, 0.8) * layout.side_um

    def distance(x_um: NDArray, y_um: NDArray) -> NDArray:
        along = (x_um - x0) * math.cos(angle) + (y_um - y0) * math.sin(angle)
        across = (y_um - y0) * math.cos(angle) - (x_um - x0) * math.sin(angle) - bend * along**2
        return np.hypot(across, np.maximum(np.abs(along) - half_um, 0.0))

    return distance


def _band(distance: Callable[[NDArray, NDArray], NDArray], side: int, width_um: float) -> NDArray[np.float32]:
    """Share of a band around a line at each grid point, (side, side), with borders about 4 um wide."""
    y, x = (np.mgrid[:side, :side] + 0.5) * GRID_UM
    return np.clip((width_um / 2 - distance(x, y)) / 4.0 + 0.5, 0.0, 1.0).astype(np.float32)


def _region(seed: int, tissue: NDArray[np.bool_], share: float) -> NDArray[np.float32]:
    """An irregular region that covers `share` of the tissue, (side, side) in 0..1, with borders about 20 um wide."""
    side = tissue.shape[0]
    field = fractal_field(side, GRID_UM, side * GRID_UM / 2, 2, seed)
    level = np.quantile(field[tissue], 1.0 - share) if tissue.any() else np.inf
    return ndimage.gaussian_filter((field >= level).astype(np.float32), 5.0)


def _enlarged(field: NDArray[np.floating], side_px: int) -> NDArray[np.float32]:
    """Interpolate a grid to pixels, (side_px, side_px, 1)."""
    place = (np.arange(side_px) + 0.5) * field.shape[0] / side_px - 0.5
    rows, columns = np.meshgrid(place, place, indexing="ij")
    return ndimage.map_coordinates(field, [rows, columns], order=1, mode="nearest").astype(np.float32)[..., None]


def _shifted(density: NDArray[np.float32], by_px: float) -> NDArray[np.float32]:
    """The tissue that lies on top in a fold: that of a place `by_px` away."""
    return np.roll(density, round(by_px), axis=(0, 1))


def _out_of_focus(
    density: NDArray[np.float32], region: NDArray[np.float32], sigma_px: float, seed: int
) -> NDArray[np.float32]:
    """Blur the light in a region and add the noise of the camera to it."""
    light = np.exp(-density)
    blurred = np.stack([ndimage.gaussian_filter(light[..., c], sigma_px) for c in range(3)], axis=-1)
    blurred += np.random.default_rng(seed).normal(0.0, 2.0 / _LIGHT, light.shape).astype(np.float32)
    return -np.log(np.maximum(light + region * (blurred - light), 1.0 / _LIGHT))
