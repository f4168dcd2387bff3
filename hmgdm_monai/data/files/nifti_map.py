"""Maps of values over a slide or tile as NIfTI, with their spacing and place in mm."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError


def write_nifti_map(
    path: Path | str, values: np.ndarray, origin_px: Sequence[float], pixel_px: float, mpp: float
) -> Path:
    """Write a map as NIfTI of shape (W, H, 1): first axis x, second y, third of one slice, 1 mm thick.

    The world is the slide: x to the right and y down from its upper left corner, in mm. So mm * 1000 / mpp are level-0
    pixels. A slide has no patient axes, and the file says so (no qform, sform "aligned"); viewers that hold the world
    for RAS show it turned by 180 degrees.

    Args:
        path: ending in ``.nii`` or ``.nii.gz``.
        values: (H, W) float; NaN where there is none.
        origin_px: upper left corner of the map, x and y in level-0 pixels.
        pixel_px: side of a pixel of the map in level-0 pixels.
        mpp: microns per level-0 pixel.

    Raises:
        InputError: another ending, or the disk is full.
    """
    import nibabel

    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: maps are written as NIfTI; give a name that ends in .nii or .nii.gz")
    mm = mpp / 1000
    affine = np.diag([pixel_px * mm, pixel_px * mm, 1.0, 1.0])
    affine[:2, 3] = (np.asarray(origin_px, float) + pixel_px / 2) * mm  # of the middle of the first pixel
    image = nibabel.Nifti1Image(np.asarray(values, np.float32).T[..., None], affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"level-0 px = mm * 1000 / {mpp:.6g}"
    image.set_qform(None, 0)
    image.set_sform(affine, 2)
    data = image.to_bytes()
    # Without a time stamp the same map gives the same file.
    return write_whole(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def level0_of_voxels(affine: np.ndarray, voxels: np.ndarray, mpp: float) -> np.ndarray:
    """Middle, as level-0 x and y (N, 2), of voxels (N, 2), by their indices along x and y, of such a map."""
    points = np.asarray(voxels, float) @ affine[:2, :2].T + affine[:2, 3]
    return points * 1000 / mpp
