"""Positions of the tissues on a demo slide: signed distance maps with irregular borders, and single glands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hmgdm_monai.data.demo.noise import fractal_field
from hmgdm_monai.data.demo.patient import TISSUES, PatientPlan

GRID_UM = 2.0
"""Distance of the grid points of a layout, micrometers."""

_FAR_UM = 200.0
_LAYOUT_STREAM = 1


@dataclass(frozen=True)
class Ring:
    """A closed, star-shaped outline: a gland, a lumen in a tumor or a vessel.

    In direction t the radius is radius_um (1 + sum_k wave[k] cos((k + 2) t + phase[k])), in coordinates that are
    rotated by `angle` and scaled by `aspect` along the second axis.
    """

    x_um: float
    y_um: float
    radius_um: float
    aspect: float
    angle: float
    wave: NDArray[np.float64]
    phase: NDArray[np.float64]

    def outline(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radius (micrometers) in directions t (radians), same shape as t."""
        table_t = np.linspace(-math.pi, math.pi, 129)
        k = np.arange(2, 2 + len(self.wave))
        table = self.radius_um * (1.0 + np.cos(k * table_t[:, None] + self.phase) @ self.wave)
        return np.interp((t + math.pi) % (2.0 * math.pi) - math.pi, table_t, table)

    def depth_um(self, x_um: NDArray[np.float64], y_um: NDArray[np.float64]) -> NDArray[np.float64]:
        """Depth of points inside the outline, micrometers (negative outside); close to the true distance."""
        u, v = self._turn(x_um, y_um)
        depth = self.outline(np.arctan2(v, u)) - np.hypot(u, v)
        return depth * math.sqrt(self.aspect)

    def walk(self, inset_um: float, step_um: float, start: float) -> tuple[NDArray, NDArray, NDArray]:
        """Points `step_um` apart on the outline, `inset_um` inside it: x, y (micrometers) and outward angle."""
        t = start + np.linspace(0.0, 2.0 * math.pi, 361)
        u, v = self._outline_xy(t, inset_um)
        length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(u), np.diff(v)))])
        count = max(int(length[-1] / step_um), 1)
        t = np.interp(np.arange(count) * (length[-1] / count), length, t)
        u, v = self._outline_xy(t, inset_um)
        (u0, v0), (u1, v1) = self._outline_xy(t - 0.02, inset_um), self._outline_xy(t + 0.02, inset_um)
        return self.x_um + u, self.y_um + v, np.arctan2(u0 - u1, v1 - v0)

    def _turn(self, x_um: NDArray, y_um: NDArray) -> tuple[NDArray, NDArray]:
        x, y = x_um - self.x_um, y_um - self.y_um
        c, s = math.cos(self.angle), math.sin(self.angle)
        return c * x + s * y, (c * y - s * x) / self.aspect

    def _outline_xy(self, t: NDArray, inset_um: float) -> tuple[NDArray, NDArray]:
        radius = np.maximum(self.outline(t) - inset_um / math.sqrt(self.aspect), 1.0)
        u, v = radius * np.cos(t), radius * np.sin(t) * self.aspect
        c, s = math.cos(self.angle), math.sin(self.angle)
        return c * u - s * v, s * u + c * v


@dataclass(frozen=True)
class TissueLayout:
    """Map of the tissues on a square slide.

    Attributes:
        side_um: side of the slide, micrometers.
        depth_um: (6, S, S) float32, signed depth inside tissue, tumor, necrosis, lymphocytes, gland and lumen, in
            micrometers, on a grid of `GRID_UM`. Tumor includes its necrosis but not its septa. Lumina are holes in
            tumors and vessels; a gland's own lumen is the center of the gland.
        classes: (S, S) int8, index into `TISSUES`, -1 for background.
        glands: the glands.
    """

    side_um: float
    depth_um: NDArray[np.float32]
    classes: NDArray[np.int8]
    glands: tuple[Ring, ...]

    def shares(self) -> dict[str, float]:
        """Share of each tissue in the tissue area, as drawn."""
        inside = self.classes[self.classes >= 0]
        return {tissue: float((inside == i).mean()) for i, tissue in enumerate(TISSUES)}


def draw_layout(plan: PatientPlan, side_um: float) -> TissueLayout:
    """Draw a patient's tissue map.

    Borders are level sets of fractal noise at the quantiles that give the planned shares. Glands are placed randomly
    one by one until they reach their share or no space is left; the rest is stroma.

    Args:
        plan: the patient.
        side_um: side of the slide, micrometers.
    """
    rng = plan.rng(_LAYOUT_STREAM)
    side = round(side_um / GRID_UM)

    def field(wavelength_um: float, octaves: int = 4) -> NDArray[np.float64]:
        return fractal_field(side, GRID_UM, min(wavelength_um, side_um / 2), octaves, int(rng.integers(2**30)))

    tissue = _tissue_piece(rng, side, field(side_um / 3, 5))
    tissue_depth = _signed_distance(tissue)
    area = int(tissue.sum())
    shares = plan.shares

    tumor_size = 150.0 + 250.0 * plan.pleomorphism
    attraction = field(tumor_size) + 0.004 * np.minimum(tissue_depth, 120.0)
    tumor = _top(attraction, tissue, (shares["tumor"] + shares["necrosis"]) * area)
    tumor_depth = _signed_distance(tumor)
    # Necrosis forms around one deep point of a tumor, far from its blood supply.
    row, column = np.unravel_index(int((field(320.0, 2) + 0.02 * tumor_depth).argmax()), tissue.shape)
    from_spot = np.hypot(*np.ogrid[-row : side - row, -column : side - column]) * GRID_UM
    necrosis = _top(0.7 * field(160.0) - from_spot / 120.0, tumor, shares["necrosis"] * area)
    # Lymphocytes gather at the edge of a tumor.
    near_tumor = np.exp(-np.abs(tumor_depth) / 60.0) if tumor.any() else 0.0
    attraction = field(380.0, 3) + 0.3 * near_tumor + 0.004 * np.minimum(tissue_depth, 60.0)
    lymphocytes = _top(attraction, tissue & ~tumor, shares["lymphocytes"] * area)

    room = _signed_distance(tissue & ~tumor & ~lymphocytes)
    # Glands come in lobules.
    glands, gland_depth = _throw_rings(
        rng, room, field(260.0, 2), shares["gland"] * area, (26.0, 84.0), 6, gap_um=5.0, margin_um=60.0
    )
    # Low-grade tumors still form lumina; high-grade ones do not.
    viable = _signed_distance(tumor & ~necrosis) - 8.0
    holes = (1.0 - plan.pleomorphism) * 0.12 * float((viable > 0).sum())
    _, lumen_depth = _throw_rings(rng, viable, viable, holes, (6.0, 20.0), 3, gap_um=14.0, margin_um=15.0)
    between = np.minimum(room, -gland_depth) - 8.0
    _, vessel_depth = _throw_rings(rng, between, between, 0.008 * area, (5.0, 16.0), 3, gap_um=20.0, margin_um=15.0)

    septa = np.abs(field(130.0, 3)) - (0.035 + 0.03 * (1.0 - plan.pleomorphism))
    classes = np.where(tissue, 0, -1).astype(np.int8)
    for name, mask in (("lymphocytes", lymphocytes), ("gland", gland_depth > 0), ("tumor", tumor)):
        classes[mask & tissue] = TISSUES.index(name)
    classes[necrosis] = TISSUES.index("necrosis")
    depths = (
        tissue_depth,
        np.minimum(tumor_depth, 90.0 * septa),
        _signed_distance(necrosis),
        _signed_distance(lymphocytes),
        gland_depth,
        np.maximum(lumen_depth, vessel_depth),
    )
    return TissueLayout(side_um, np.stack(depths).astype(np.float32), classes, tuple(glands))


def _tissue_piece(rng: np.random.Generator, side: int, noise: NDArray) -> NDArray[np.bool_]:
    """One main piece of tissue with ragged borders, (side, side) bool."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    angle, aspect = rng.uniform(0, math.pi), rng.uniform(0.7, 1.0)
    u = x * math.cos(angle) + y * math.sin(angle)
    v = (y * math.cos(angle) - x * math.sin(angle)) / aspect
    piece = _top(0.32 * noise - 3.0 * np.hypot(u, v), np.ones_like(x, dtype=bool), rng.uniform(0.62, 0.76) * side**2)
    labels, count = ndimage.label(piece)
    sizes = ndimage.sum_labels(piece, labels, np.arange(count + 1))
    return (sizes > 0.01 * side**2)[labels]


def _top(field: NDArray, inside: NDArray[np.bool_], area: float) -> NDArray[np.bool_]:
    """The `area` grid points of `inside` where `field` is highest."""
    inside_area = int(inside.sum())
    if round(area) <= 0 or inside_area == 0:
        return np.zeros_like(inside)
    level = np.quantile(field[inside], max(0.0, 1.0 - area / inside_area))
    return inside & (field >= level)


def _signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance to the border of a mask, micrometers, positive inside."""
    if not mask.any():
        return np.full(mask.shape, -_FAR_UM)
    if mask.all():
        return np.full(mask.shape, _FAR_UM)
    distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return np.clip(ndimage.gaussian_filter(distance, 1.0) * GRID_UM, -_FAR_UM, _FAR_UM)


def _throw_rings(
    rng: np.random.Generator,
    room_um: NDArray,
    attraction: NDArray,
    area: float,
    radii_um: tuple[float, float],
    waves: int,
    gap_um: float,
    margin_um: float,
) -> tuple[list[Ring], NDArray[np.float64]]:
    """Place rings that do not touch into a region until they fill `area` grid points or no more fits.

    Of every two random points, the one with higher `attraction` is tried. Placement stops after 1,500 failures in a
    row; a failure that needed an outline counts as ten.

    Returns:
        The rings, and the depth (micrometers) inside the nearest of them, correct up to `margin_um` outside.
    """
    side = room_um.shape[0]
    depth = np.full(room_um.shape, -_FAR_UM)
    rings: list[Ring] = []
    filled, misses = 0, 0
    free = np.flatnonzero(room_um > 0.6 * radii_um[0])
    while filled < area and misses < 1500 and free.size:
        spots = free[rng.integers(free.size, size=2)]
        spot = int(spots[np.argmax(attraction.ravel()[spots])])
        row, column = divmod(spot, side)
        # Small rings fit into the gaps between large ones.
        radius = radii_um[0] + (radii_um[1] - radii_um[0]) * rng.uniform() ** (1.0 + misses / 100.0)
        if min(room_um[row, column], -depth[row, column] - gap_um) < 0.5 * radius:
            misses += 1
            continue
        ring = Ring(
            x_um=(column + rng.uniform()) * GRID_UM,
            y_um=(row + rng.uniform()) * GRID_UM,
            radius_um=radius,
            aspect=rng.uniform(0.55, 1.0),
            angle=rng.uniform(0, math.pi),
            wave=rng.normal(0, 0.19, waves) / np.arange(1.5, 1.5 + waves),
            phase=rng.uniform(0, 2 * math.pi, waves),
        )
        reach = int((1.5 * radius + margin_um) / GRID_UM)
        rows = np.arange(max(row - reach, 0), min(row + reach + 1, side))[:, None]
        columns = np.arange(max(column - reach, 0), min(column + reach + 1, side))
        window = np.s_[rows[0, 0] : rows[-1, 0] + 1, columns[0] : columns[-1] + 1]
        own = ring.depth_um((columns + 0.5) * GRID_UM, (rows + 0.5) * GRID_UM)
        taken = (own > -gap_um) & ((depth[window] > 0.0) | (room_um[window] < 0.0))
        if taken.any() or not (own > 0).any():
            misses += 10
            continue
        depth[window] = np.maximum(depth[window], own)
        rings.append(ring)
        filled += int((own > 0).sum())
        misses = 0
    return rings, np.maximum(depth, -_FAR_UM)
