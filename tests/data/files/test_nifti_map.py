from __future__ import annotations

import nibabel
import numpy as np
import pytest

from hmgdm_monai.data.files.nifti_map import level0_of_voxels, write_nifti_map
from hmgdm_monai.errors import InputError


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_level0_pixels_come_back_from_the_file_alone(tmp_path, suffix):
    values = np.arange(12, dtype=float).reshape(3, 4)
    values[0, 1] = np.nan
    path = write_nifti_map(tmp_path / f"a{suffix}", values, (1000.0, 40.0), 51.3, mpp=0.499)
    image = nibabel.load(path)
    assert image.shape == (4, 3, 1)
    np.testing.assert_allclose(image.header.get_zooms()[:2], 51.3 * 0.499 / 1000, rtol=1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.get_fdata()[..., 0], values.T)
    # By hand, without our reader: the middle of voxel (3, 2).
    mm = nibabel.affines.apply_affine(image.affine, (3, 2, 0))
    expected = (1000 + 3.5 * 51.3, 40 + 2.5 * 51.3)
    np.testing.assert_allclose(mm[:2] * 1000 / 0.499, expected, rtol=1e-5)
    np.testing.assert_allclose(level0_of_voxels(image.affine, [[3, 2]], 0.499), [expected], rtol=1e-5)


def test_the_same_map_gives_the_same_bytes(tmp_path):
    paths = [write_nifti_map(tmp_path / f"{name}.nii.gz", np.eye(3), (0, 0), 2, 0.5) for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match="nii"):
        write_nifti_map(tmp_path / "a.png", np.eye(3), (0, 0), 2, 0.5)
