"""Features files: round trip, layouts of other tools, and what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from hmgdm_monai.data.files.features_file import features_shape, read_features, write_features
from hmgdm_monai.errors import InputError


def test_round_trip(tmp_path: Path) -> None:
    features, coords = np.random.default_rng(0).normal(size=(5, 3)), np.arange(10).reshape(5, 2)
    path = write_features(tmp_path / "deep" / "a.h5", features, coords, {"mpp": 0.5, "encoder": "abc"})
    found = read_features(path)
    np.testing.assert_array_equal(found.features, features.astype(np.float32))
    np.testing.assert_array_equal(found.coords, coords)
    assert found.attrs == {"mpp": 0.5, "encoder": "abc"}
    assert features_shape(path) == (5, 3)
    assert read_features(write_features(tmp_path / "b.h5", features)).coords is None


def test_half_precision_a_leading_axis_and_attributes_of_data_sets_are_understood(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = np.ones((1, 4, 2), np.float16)
        file["coords"] = np.zeros((4, 2), np.int64)
        file["coords"].attrs["patch_size_level0"] = 512
    found = read_features(tmp_path / "a.h5")
    assert found.features.shape == (4, 2) and found.features.dtype == np.float32
    assert found.attrs == {"patch_size_level0": 512}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"embedding": np.ones((2, 2))}, "no data set `features`.* embedding"),
        ({"features": np.ones((0, 2))}, "at least|one tile"),
        ({"features": np.ones(3)}, "tiles x channels"),
        ({"features": np.ones((2, 2)), "coords": np.ones((3, 2))}, "do not fit 2 features"),
        ({"features": np.array([[1.0, np.nan], [0, 0]])}, "features of 1 of 2 tiles are not finite"),
        ({"features": np.array([[1e300, 1], [0, 0]])}, "features of 1 of 2 tiles are not finite"),
        ({"features": np.float32(3)}, "tiles x channels"),
        ({"features": h5py.Empty("f4")}, "tiles x channels"),
        (
            {"features": np.ones((2, 2)), "coords": np.array([[np.inf, 1], [0, 0]])},
            "coords of 1 of 2 tiles are not fin",
        ),
        ({"features": np.ones((2, 2)), "coords": np.array([["a", "b"]] * 2, "S1")}, "coords are not numbers but text"),
        ({"features": np.ones((2, 2)), "scores": np.ones((3, 2))}, "scores of shape"),
        ({"features": np.ones((2, 2)), "scores": np.array([[np.nan, 1], [0, 0]])}, "scores of 1 of 2 tiles"),
    ],
)
def test_what_is_no_features_file_is_refused(tmp_path: Path, content: dict[str, np.ndarray], message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in content.items():
            file[name] = values
    with pytest.raises(InputError, match=message) as caught:
        read_features(tmp_path / "a.h5")
    assert "\n" not in str(caught.value) and "a.h5" in str(caught.value)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_features(tmp_path / "a.h5")
    with pytest.raises(InputError, match="no such features file"):
        features_shape(tmp_path / "b.h5")


def test_what_does_not_fit_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="with coords of shape"):
        write_features(tmp_path / "a.h5", np.ones((2, 2)), np.ones((3, 2)))
    assert not list(tmp_path.iterdir())


def test_stamp_calls_them_feats(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["feats"], file["coords"] = np.ones((4, 2), np.float16), np.full((4, 2), 112.5)
        file.attrs["unit"] = np.bytes_("um")
    found = read_features(tmp_path / "a.h5")
    assert found.features.dtype == np.float32 and found.features.shape == (4, 2) == features_shape(tmp_path / "a.h5")
    assert found.coords is not None and found.coords[0, 0] == 112.5 and found.attrs == {"unit": "um"}


def test_clam_keeps_tensors_in_files_of_their_own(tmp_path: Path) -> None:
    values = torch.randn(4, 3)
    torch.save(values.half(), tmp_path / "a.pt")
    found = read_features(tmp_path / "a.pt")
    np.testing.assert_array_equal(found.features, values.half().float().numpy())
    assert found.coords is None and features_shape(tmp_path / "a.pt") == (4, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(0, 3), "at least one tile"),
        (torch.zeros(3), "tiles x channels"),
        (torch.tensor([[1.0, float("nan")]]), "of 1 of 1 tiles are not finite"),
        ({"a": torch.zeros(2, 2)}, "must hold one tensor"),
        (["text"], "must hold one tensor"),
        (Path("x"), "is no file of torch.save or is damaged"),  # an object, which weights_only refuses
    ],
)
def test_other_tensors_are_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=message) as caught:
        read_features(tmp_path / "a.pt")
    assert "\n" not in str(caught.value) and "a.pt" in str(caught.value)
