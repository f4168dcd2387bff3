"""The nuclei of the demo slides: positions, appearance and drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hmgdm_monai.data.demo.layout import TissueLayout
from hmgdm_monai.data.demo.noise import gradient_noise
from hmgdm_monai.data.demo.patient import PatientPlan
from hmgdm_monai.data.demo.texture import fiber_angles, fiber_setting, sample_depths

_NUCLEI_STREAM = 3
_NONE, _STROMA, _LYMPHOCYTE, _TUMOR, _NECROSIS, _EPITHELIUM = -1, 0, 1, 2, 3, 4


@dataclass(frozen=True)
class NucleusKind:
    """Appearance of one kind of nucleus.

    Attributes:
        length_um: median long axis.
        spread: standard deviation of the log of the length.
        aspect: (lowest, highest) ratio of the short to the long axis.
        haem: median amount of hematoxylin (natural-log optical density).
        haem_spread: standard deviation of its log.
        chromatin: contrast of the chromatin's texture, 0 to 1.
        clearing: how much paler the center is than the rim, 0 to 1.
        nucleolus: strength of the nucleolus, 0 for none.
        ragged: amplitude of the waves of the outline.
        cell_um: radius of the cytoplasm around it, 0 for none.
        room: share of the mean diameter that is kept free of other nuclei; below 1 they overlap.
    """

    length_um: float
    spread: float
    aspect: tuple[float, float]
    haem: float
    haem_spread: float
    chromatin: float
    clearing: float
    nucleolus: float
    ragged: float
    cell_um: float
    room: float


def nucleus_kinds(pleomorphism: float) -> dict[int, NucleusKind]:
    """The kinds of nuclei; tumor nuclei get larger, darker and more different with pleomorphism (0 to 1)."""
    p = pleomorphism
    return {
        _STROMA: NucleusKind(13.0, 0.22, (0.2, 0.42), 1.5, 0.16, 0.22, 0.0, 0.0, 0.1, 0.0, 0.9),
        _LYMPHOCYTE: NucleusKind(6.6, 0.12, (0.8, 1.0), 2.0, 0.13, 0.34, 0.0, 0.0, 0.06, 0.0, 0.93),
        _TUMOR: NucleusKind(
            9.3 + 2.6 * p, 0.1 + 0.2 * p, (0.66 - 0.14 * p, 0.95), 1.3 + 0.3 * p, 0.14 + 0.16 * p, 0.3 + 0.16 * p,
            0.3 - 0.08 * p, 0.5 + 0.6 * p, 0.07 + 0.09 * p, 8.0 + 2.5 * p, 0.98 - 0.08 * p,
        ),
        _NECROSIS: NucleusKind(3.6, 0.4, (0.5, 1.0), 1.3, 0.4, 0.25, 0.0, 0.0, 0.3, 0.0, 1.5),
        _EPITHELIUM: NucleusKind(8.6, 0.09, (0.62, 0.8), 1.4, 0.1, 0.26, 0.2, 0.25, 0.05, 7.5, 0.86),
    }  # fmt: skip


@njit(cache=True)
def _kind_at(depths: NDArray[np.float64]) -> int:
    """Kind of nucleus in tissue of these depths, -1 for none."""
    tissue, tumor, necrosis, lymph, gland, hole = depths
    if tissue < 4.0 or hole > -3.0 or gland > -5.0:
        return -1
    if necrosis > 0.0:
        return 3
    if tumor > 2.5:
        return 2
    if tumor > -3.0:
        return -1
    return 1 if lymph > -3.0 else 0


@njit(cache=True)
def _kinds_at(x_um: NDArray, y_um: NDArray, depth_um: NDArray[np.float32]) -> NDArray[np.int64]:
    kinds = np.empty(len(x_um), np.int64)
    depths = np.empty(6)
    for n in range(len(x_um)):
        sample_depths(depth_um, x_um[n], y_um[n], depths)
        kinds[n] = _kind_at(depths)
    return kinds


@njit(cache=True)
def _apart(x_um: NDArray, y_um: NDArray, room_um: NDArray, side_um: float) -> NDArray[np.bool_]:
    """Keep points in order if their discs of diameter `room_um` do not overlap discs that are already kept."""
    cell = 6.0
    cells = int(side_um / cell) + 2
    reach = int(math.ceil(room_um.max() / cell))
    first = np.full((cells, cells), -1, np.int64)
    following = np.full(len(x_um), -1, np.int64)
    keep = np.zeros(len(x_um), np.bool_)
    for n in range(len(x_um)):
        ci = min(max(int(y_um[n] / cell), 0), cells - 1)
        cj = min(max(int(x_um[n] / cell), 0), cells - 1)
        free = True
        for i in range(max(ci - reach, 0), min(ci + reach + 1, cells)):
            for j in range(max(cj - reach, 0), min(cj + reach + 1, cells)):
                m = first[i, j]
                while m >= 0 and free:
                    gap = 0.5 * (room_um[n] + room_um[m])
                    free = (x_um[n] - x_um[m]) ** 2 + (y_um[n] - y_um[m]) ** 2 >= gap * gap
                    m = following[m]
        if free:
            keep[n] = True
            following[n] = first[ci, cj]
            first[ci, cj] = n
    return keep


@njit(cache=True)
def _stamp(stains: NDArray[np.float32], nuclei: NDArray[np.float64], mpp: float, seed: int) -> None:
    """Draw nuclei; the columns of a row are documented in `place_nuclei`."""
    rows, columns = stains.shape[1:]
    for n in range(len(nuclei)):
        x0, y0, a, b, angle, haem, chromatin, clearing, nucleolus, ragged, cell, tint, blur, p1, p2, turn = nuclei[n]
        c, s = math.cos(angle), math.sin(angle)
        soft = max(blur, 0.7 * mpp)
        spot_x, spot_y = 0.35 * a * math.cos(p1), 0.35 * b * math.sin(p1)
        reach = max(1.3 * a + soft, 1.5 * cell)
        for i in range(max(int((y0 - reach) / mpp), 0), min(int((y0 + reach) / mpp) + 1, rows)):
            for j in range(max(int((x0 - reach) / mpp), 0), min(int((x0 + reach) / mpp) + 1, columns)):
                dx, dy = (j + 0.5) * mpp - x0, (i + 0.5) * mpp - y0
                u, v = c * dx + s * dy, c * dy - s * dx
                if cell > 0.0:
                    # Each cell has a cytoplasm with its own shade, a paler rim and a clear ring around the nucleus.
                    d = math.sqrt(u * u * b / a + v * v * a / b) / cell
                    if d < 1.5:
                        weight = math.exp(-((d * d) ** 2))
                        stains[1, i, j] *= 1.0 + weight * tint - 0.3 * math.exp(-(((d - 1.15) / 0.14) ** 2))
                        stains[0, i, j] *= 1.0 + 0.8 * weight * tint
                u, v = u / a, v / b
                radius = math.sqrt(u * u + v * v)
                if radius > 1.6:
                    continue
                t = math.atan2(v, u)
                outline = 1.0 + ragged * (math.cos(2 * t + p1) + math.cos(3 * t + p2) + 0.6 * math.cos(5 * t + turn))
                depth = (outline - radius) * b
                amount = min(max(depth / soft + 0.5, 0.0), 1.0)
                if amount <= 0.0:
                    continue
                x, y = x0 + dx, y0 + dy
                clumps = gradient_noise(x / 1.3 + 7.0 * turn, y / 1.3, seed) + 0.8 * gradient_noise(
                    x / 2.7, y / 2.7 + 9.0 * turn, seed + 1
                )
                rim = math.exp(-((depth / 0.7) ** 2))
                middle = min(max(depth / b, 0.0), 1.0)
                body = 1.0 + chromatin * clumps + clearing * (0.8 * rim - 1.3 * middle)
                d = ((u * a - spot_x) ** 2 + (v * b - spot_y) ** 2) / 0.7
                body += nucleolus * math.exp(-d * d)
                stains[0, i, j] += amount * (haem * max(body, 0.25) - stains[0, i, j])
                stains[1, i, j] *= 1.0 - 0.45 * amount


def place_nuclei(plan: PatientPlan, layout: TissueLayout) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Choose positions, sizes and shades of all nuclei of a slide.

    Epithelium forms one or two rows around the glands and points to the lumen. All other nuclei are placed at random
    where there is space; those in stroma are aligned with the fibers.

    Args:
        plan: the patient.
        layout: the tissue map.

    Returns:
        (N, 16) nuclei: x and y, long and short half axis (micrometers), angle (radians), hematoxylin, chromatin,
        clearing, nucleolus, raggedness, radius of the cell (micrometers), tint of its cytoplasm, softness of the edge
        (micrometers) and three random angles; and (N,) their kind.
    """
    rng = plan.rng(_NUCLEI_STREAM)
    kinds = nucleus_kinds(plan.pleomorphism)
    angle, _, seed = fiber_setting(plan)

    rings = []
    for gland in layout.glands:
        for inset, share in ((5.2, 1.0), (10.5, 0.45)):
            x, y, normal = gland.walk(inset, 5.4, rng.uniform(0, 2 * math.pi))
            chosen = rng.uniform(size=len(x)) < share
            rings.append(np.stack([x, y, normal], -1)[chosen])
    lining = np.concatenate([*rings, np.empty((0, 3))])
    lining[:, :2] += rng.normal(0, 1.2, (len(lining), 2))
    lining[:, 2] += rng.normal(0, 0.2, len(lining))

    # Ten trials per nucleus that fits: crowded tissues then come close to their densest random packing.
    throws = int(0.05 * layout.side_um**2)
    x, y = rng.uniform(0, layout.side_um, (2, throws))
    kind = _kinds_at(x, y, layout.depth_um)
    # Share of trials that count: few where tissue is sparse. Stroma gets a few lymphocytes.
    luck, other = rng.uniform(size=(2, throws))
    kind[(kind == _STROMA) & (other < 0.12)] = _LYMPHOCYTE
    chance = np.array([0.045, 1.0, 1.0, 0.25, 0.0])
    in_stroma = _kinds_at(x, y, layout.depth_um) == _STROMA
    kept = (kind >= 0) & (luck < np.where(in_stroma, chance[_STROMA], chance[kind]))
    x, y, kind = x[kept], y[kept], kind[kept]
    turned = np.where(
        kind == _STROMA,
        fiber_angles(x, y, layout.depth_um, angle, seed) + rng.normal(0, 0.18, len(x)),
        rng.uniform(0, math.pi, len(x)),
    )

    x, y = np.concatenate([lining[:, 0], x]), np.concatenate([lining[:, 1], y])
    kind = np.concatenate([np.full(len(lining), _EPITHELIUM), kind])
    turned = np.concatenate([lining[:, 2], turned])
    looks = np.array([list(_columns(kinds[k])) for k in sorted(kinds)])[kind]
    length, spread, low, high, haem, haem_spread, chromatin, clearing, nucleolus, ragged, cell, room = looks.T
    grown = np.exp(rng.normal(0, 1, len(x)) * spread)
    long = 0.5 * length * grown
    short = long * rng.uniform(low, high)
    keep = _apart(x, y, 2.0 * np.sqrt(long * short) * room, layout.side_um)
    nuclei = np.stack(
        [
            x, y, long, short, turned,
            haem * np.exp(rng.normal(0, 1, len(x)) * haem_spread),
            chromatin, clearing,
            nucleolus * (rng.uniform(size=len(x)) < 0.6),
            ragged * rng.uniform(0.3, 1.2, len(x)),
            cell * grown,
            rng.normal(0, 0.16, len(x)),
            rng.uniform(0.5, 1.4, len(x)),
            *rng.uniform(0, 2 * math.pi, (3, len(x))),
        ],
        -1,
    )  # fmt: skip
    return nuclei[keep], kind[keep]


def _columns(kind: NucleusKind) -> tuple[float, ...]:
    return (
        kind.length_um, kind.spread, *kind.aspect, kind.haem, kind.haem_spread, kind.chromatin, kind.clearing,
        kind.nucleolus, kind.ragged, kind.cell_um, kind.room,
    )  # fmt: skip


def paint_nuclei(stains: NDArray[np.float32], plan: PatientPlan, layout: TissueLayout, mpp: float) -> None:
    """Draw a slide's nuclei over its texture, in place.

    Args:
        stains: (2, S, S) hematoxylin and eosin, from `paint_texture`.
        plan: the patient.
        layout: the tissue map.
        mpp: microns per px.
    """
    nuclei, _ = place_nuclei(plan, layout)
    _stamp(stains, nuclei, mpp, int(plan.rng(_NUCLEI_STREAM).integers(2**30)))
