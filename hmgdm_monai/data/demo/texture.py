"""Everything between the nuclei, as amounts of hematoxylin and eosin: fibers, cytoplasm, lumina and necrosis."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hmgdm_monai.data.demo.layout import GRID_UM, TissueLayout
from hmgdm_monai.data.demo.noise import gradient_noise
from hmgdm_monai.data.demo.patient import PatientPlan

_TEXTURE_STREAM = 2


@njit(cache=True)
def sample_depths(depth_um: NDArray[np.float32], x_um: float, y_um: float, out: NDArray[np.float64]) -> None:
    """Interpolate all depth maps of a layout at one point into `out`; points outside the grid get the edge value."""
    count, rows, columns = depth_um.shape
    u = min(max(x_um / GRID_UM - 0.5, 0.0), columns - 1.001)
    v = min(max(y_um / GRID_UM - 0.5, 0.0), rows - 1.001)
    j, i = int(u), int(v)
    a, b = u - j, v - i
    for m in range(count):
        top = depth_um[m, i, j] * (1.0 - a) + depth_um[m, i, j + 1] * a
        bottom = depth_um[m, i + 1, j] * (1.0 - a) + depth_um[m, i + 1, j + 1] * a
        out[m] = top * (1.0 - b) + bottom * b


@njit(cache=True)
def fiber_coordinates(x_um: float, y_um: float, wrap_um: float, angle: float, seed: int) -> tuple[float, float]:
    """Coordinates across and along the fibers of stroma, micrometers.

    Fibers run in one direction, bent by noise of two wavelengths. They wrap around glands and tumor nests, because the
    distance to these (`wrap_um`) is added to the coordinate across.
    """
    c, s = math.cos(angle), math.sin(angle)
    bend = 120.0 * gradient_noise(x_um / 260.0, y_um / 260.0, seed)
    wave = 9.0 * gradient_noise(x_um / 42.0, y_um / 42.0, seed + 1)
    drift = 60.0 * gradient_noise(x_um / 170.0, y_um / 170.0, seed + 2)
    return c * x_um + s * y_um + bend + wave + wrap_um, c * y_um - s * x_um + drift


@njit(cache=True)
def wrap_distance(tumor_um: float, gland_um: float) -> float:
    """Distance to the nearest gland or tumor nest for bending fibers, micrometers, damped with distance."""
    near = max(tumor_um, gland_um)
    return -45.0 * (1.0 - math.exp(min(near, 0.0) / 30.0))


@njit(cache=True)
def _step(value: float, width: float) -> float:
    """Smooth step from 0 at -width / 2 to 1 at width / 2."""
    t = min(max(value / width + 0.5, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(cache=True)
def _paint(
    stains: NDArray[np.float32], depth_um: NDArray[np.float32], mpp: float, angle: float, loose: float, seed: int
) -> None:
    rows, columns = stains.shape[1:]
    depths = np.empty(6)
    soft = max(1.5, 1.5 * mpp)
    for i in range(rows):
        y = (i + 0.5) * mpp
        for j in range(columns):
            x = (j + 0.5) * mpp
            sample_depths(depth_um, x, y, depths)
            tissue, tumor, necrosis, lymph, gland, hole = depths
            if tissue < -12.0:
                continue
            rag = gradient_noise(x / 14.0, y / 14.0, seed + 10)
            fine = gradient_noise(x / 4.5, y / 4.5, seed + 11)
            grain = gradient_noise(x / 1.7, y / 1.7, seed + 12)
            tissue += 5.0 * rag + 2.0 * fine
            inside = _step(tissue, soft)
            if inside <= 0.0:
                continue

            # Stroma: bundles of fibers with clefts between them. Skipped where a nest or gland covers it.
            region = gradient_noise(x / 140.0, y / 140.0, seed + 16)
            bundle, fiber, fibril = 0.0, 0.0, 0.0
            if tumor < 6.0 and gland < 3.0:
                across, along = fiber_coordinates(x, y, wrap_distance(tumor, gland), angle, seed)
                across += 1.6 * rag
                bundle = gradient_noise(across / 17.0, along / 85.0, seed + 13)
                fiber = gradient_noise(across / 6.0, along / 48.0, seed + 14)
                fibril = gradient_noise(across / 2.4, along / 22.0, seed + 15)
            eosin = 0.74 + 0.2 * bundle + 0.24 * fiber + 0.24 * fibril + 0.12 * region + 0.1 * grain
            openness = loose + 0.35 * region
            cleft = _step(0.75 * bundle + 0.6 * fiber + 0.25 * fibril - 0.64 + openness, 0.16)
            eosin *= 1.0 - 0.9 * cleft
            haem = 0.1 + 0.06 * region + 0.03 * fibril

            # Lymphocyte aggregates: almost nothing between the nuclei.
            amount = _step(lymph + 14.0 * rag + 4.0 * fine, 22.0)
            eosin += amount * (0.34 + 0.1 * fine - eosin)
            haem += amount * (0.26 + 0.06 * fine - haem)

            # Tumor: violet cytoplasm in nests.
            nest = tumor + 2.0 * rag + 0.8 * fine
            amount = _step(nest, 2.5)
            eosin += amount * (0.5 + 0.1 * region + 0.1 * fine + 0.07 * grain - eosin)
            haem += amount * (0.38 + 0.06 * rag + 0.08 * fine + 0.05 * grain - haem)
            shrink = math.exp(-(((nest + 3.0) / 1.6) ** 2)) * max(gradient_noise(x / 60.0, y / 60.0, seed + 17), 0.0)

            # Necrosis: pale, smudged, with dust of dead nuclei.
            amount = _step(necrosis + 9.0 * rag + 3.0 * fine, 14.0)
            if amount > 0.0:
                clump = gradient_noise(x / 9.0, y / 9.0, seed + 18)
                dust = max(gradient_noise(x / 2.6, y / 2.6, seed + 19) - 0.42, 0.0)
                eosin += amount * (0.5 + 0.2 * clump + 0.14 * fine + 0.1 * grain - eosin)
                haem += amount * (0.1 + 0.06 * clump + (1.8 + 1.5 * rag) * dust - haem)
                shrink *= 1.0 - amount

            # Glands: a ring of epithelium, foamy towards the lumen, on a thin pink membrane.
            if gland > -4.0:
                wall = gland + 0.6 * fine
                height = 18.0 + 6.0 * rag + 7.0 * gradient_noise(x / 45.0, y / 45.0, seed + 20)
                membrane = math.exp(-(((wall + 1.2) / 1.1) ** 2))
                eosin += 0.25 * membrane
                amount = _step(wall, 1.6)
                apical = min(max(wall / height, 0.0), 1.0)
                foam = abs(gradient_noise(x / 3.2, y / 3.2, seed + 21))
                cell_eosin = 0.46 - 0.08 * apical + 0.12 * fine - 0.3 * apical * (0.3 - foam)
                eosin += amount * (cell_eosin - eosin)
                haem += amount * (0.3 - 0.1 * apical + 0.08 * fine + 0.05 * grain - haem)
                lumen = _step(wall - height, 2.2)
                secretion = _step(gradient_noise(x / 38.0, y / 38.0, seed + 22) - 0.35, 0.2)
                eosin += lumen * (secretion * (0.26 + 0.1 * fine) - eosin)
                haem += lumen * (0.03 * secretion - haem)

            # Vessels and lumina in tumors: empty, with a firm edge.
            if hole > -6.0:
                edge = hole + 1.2 * rag + 0.5 * fine
                eosin += 0.22 * math.exp(-(((edge + 1.5) / 1.5) ** 2))
                empty = 1.0 - _step(edge, 1.8)
                eosin, haem = eosin * empty, haem * empty
            keep = inside * (1.0 - min(1.2 * shrink, 0.95))
            stains[0, i, j] = keep * max(haem, 0.0)
            stains[1, i, j] = keep * max(eosin, 0.0)


def fiber_setting(plan: PatientPlan) -> tuple[float, float, int]:
    """Direction of the fibers (radians), looseness of the stroma and seed of the texture for a patient."""
    rng = plan.rng(_TEXTURE_STREAM)
    return float(rng.uniform(0, math.pi)), float(rng.uniform(-0.1, 0.22)), int(rng.integers(2**30))


def paint_texture(plan: PatientPlan, layout: TissueLayout, side_px: int, mpp: float) -> NDArray[np.float32]:
    """Draw everything except the nuclei.

    Args:
        plan: the patient.
        layout: the tissue map.
        side_px: side of the slide in px.
        mpp: microns per px.

    Returns:
        (2, side_px, side_px): amounts of hematoxylin and eosin, in natural-log optical density along their unit
        vectors; 0 is clear glass.
    """
    stains = np.zeros((2, side_px, side_px), np.float32)
    _paint(stains, layout.depth_um, mpp, *fiber_setting(plan))
    return stains


@njit(cache=True)
def fiber_angles(
    x_um: NDArray[np.float64], y_um: NDArray[np.float64], depth_um: NDArray[np.float32], angle: float, seed: int
) -> NDArray[np.float64]:
    """Direction (radians) of the fibers at points (N,), by central differences of the coordinate across."""
    angles = np.empty(len(x_um))
    depths = np.empty(6)
    h = 3.0
    across = np.empty(4)
    for n in range(len(x_um)):
        for k in range(4):
            x = x_um[n] + (h if k == 0 else -h if k == 1 else 0.0)
            y = y_um[n] + (h if k == 2 else -h if k == 3 else 0.0)
            sample_depths(depth_um, x, y, depths)
            across[k] = fiber_coordinates(x, y, wrap_distance(depths[1], depths[4]), angle, seed)[0]
        angles[n] = math.atan2(across[0] - across[1], -(across[2] - across[3]))
    return angles
