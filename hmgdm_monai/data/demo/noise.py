"""Seeded gradient noise, the only source of irregular shapes and textures in the demo slides."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_DIRECTIONS = np.array([(math.cos(a), math.sin(a)) for a in np.arange(16) * (math.pi / 8)])


@njit(cache=True)
def lattice_hash(ix: int, iy: int, seed: int) -> int:
    """Hash of one lattice point: an integer in [0, 2**32), the same on every machine."""
    h = (ix * 374761393 + iy * 668265263 + seed * 974634521) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return h ^ (h >> 16)


@njit(cache=True)
def gradient_noise(x: float, y: float, seed: int) -> float:
    """Perlin's gradient noise at one point.

    Args:
        x: x coordinate in lattice units (a length divided by the wanted wavelength).
        y: y coordinate in lattice units.
        seed: index of the noise field, in [0, 2**31).

    Returns:
        A value in about [-1, 1], with mean 0 and a continuous first derivative.
    """
    fx, fy = math.floor(x), math.floor(y)
    ix, iy = int(fx), int(fy)
    dx, dy = x - fx, y - fy
    g = _DIRECTIONS[lattice_hash(ix, iy, seed) & 15]
    n00 = g[0] * dx + g[1] * dy
    g = _DIRECTIONS[lattice_hash(ix + 1, iy, seed) & 15]
    n10 = g[0] * (dx - 1.0) + g[1] * dy
    g = _DIRECTIONS[lattice_hash(ix, iy + 1, seed) & 15]
    n01 = g[0] * dx + g[1] * (dy - 1.0)
    g = _DIRECTIONS[lattice_hash(ix + 1, iy + 1, seed) & 15]
    n11 = g[0] * (dx - 1.0) + g[1] * (dy - 1.0)
    u = dx * dx * dx * (dx * (dx * 6.0 - 15.0) + 10.0)
    v = dy * dy * dy * (dy * (dy * 6.0 - 15.0) + 10.0)
    return 1.5 * (n00 + u * (n10 - n00) + v * (n01 + u * (n11 - n01) - n00 - u * (n10 - n00)))


@njit(cache=True)
def fractal_noise(x: float, y: float, octaves: int, seed: int) -> float:
    """Sum of `octaves` noise fields; each has half the wavelength and half the amplitude of the previous one."""
    total, height = 0.0, 1.0
    for octave in range(octaves):
        total += height * gradient_noise(x, y, seed + octave)
        x, y, height = 2.0 * x, 2.0 * y, 0.5 * height
    return total


@njit(cache=True)
def fractal_field(side_px: int, px_um: float, wavelength_um: float, octaves: int, seed: int) -> NDArray[np.float64]:
    """Fractal noise over a square grid.

    Args:
        side_px: number of grid points along a side.
        px_um: distance of grid points, micrometers.
        wavelength_um: longest wavelength, micrometers.
        octaves: number of wavelengths; each is half of the previous one.
        seed: index of the noise field.

    Returns:
        (side_px, side_px) array; point (row i, column j) lies at x = (j + 0.5) px_um, y = (i + 0.5) px_um.
    """
    field = np.empty((side_px, side_px))
    for i in range(side_px):
        for j in range(side_px):
            field[i, j] = fractal_noise(
                (j + 0.5) * px_um / wavelength_um, (i + 0.5) * px_um / wavelength_um, octaves, seed
            )
    return field
