"""Write maps of values over a slide or tile as NIfTI, with spacing and position in mm."""

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
    """Write a map as NIfTI of shape (W, H, 1): the axes are x, y, and one slice of 1 mm.

    World coordinates are slide coordinates in mm: x to the right and y down from the upper left corner of the slide, so
    level-0 pixels are mm * 1000 / mpp. A slide has no patient axes, and the header says so (no qform, sform "aligned").
    Viewers that assume RAS world coordinates show the map rotated by 180 degrees.

    Args:
        path: file to write, ending in ``.nii`` or ``.nii.gz``.
        values: (H, W) float; NaN for missing values.
        origin_px: upper left corner of the map, (x, y) in level-0 pixels.
        pixel_px: size of a map pixel in level-0 pixels.
        mpp: microns per level-0 pixel.

    Returns:
        Path of the file.

    Raises:
        InputError: the name has another ending, or the disk is full.
    """
    import nibabel

    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: maps are written as NIfTI; give a name that ends in .nii or .nii.gz")
    mm = mpp / 1000
    affine = np.diag([pixel_px * mm, pixel_px * mm, 1.0, 1.0])
    affine[:2, 3] = (np.asarray(origin_px, float) + pixel_px / 2) * mm  # the center of the first pixel
    image = nibabel.Nifti1Image(np.asarray(values, np.float32).T[..., None], affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = f"level-0 px = mm * 1000 / {mpp:.6g}"
    image.set_qform(None, 0)
    image.set_sform(affine, 2)
    data = image.to_bytes()
    # No time stamp, so that the same map gives the same file.
    return write_whole(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def level0_of_voxels(affine: np.ndarray, voxels: np.ndarray, mpp: float) -> np.ndarray:
    """Centers of voxels of such a map in level-0 pixels.

    Args:
        affine: (4, 4) affine matrix of the file.
        voxels: (N, 2) voxel indices along x and y.
        mpp: microns per level-0 pixel.

    Returns:
        (N, 2) level-0 (x, y).
    """
    points = np.asarray(voxels, float) @ affine[:2, :2].T + affine[:2, 3]
    return points * 1000 / mpp
