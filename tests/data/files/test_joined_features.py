"""Features of several encoders: matched by coordinates, or by order; bad files are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.data.files.joined_features import joined_channels, read_joined_features, usable_features
from hmgdm_monai.errors import InputError

RNG = np.random.default_rng(0)
COORDS = np.array([[0, 0], [256, 0], [0, 256], [256, 256], [512, 0]])
FIRST, SECOND = RNG.normal(size=(5, 2)), RNG.normal(size=(5, 3))


def test_tiles_are_matched_by_coordinates(tmp_path: Path) -> None:
    order = RNG.permutation(5)
    one = write_features(tmp_path / "a.h5", FIRST, COORDS)
    other = write_features(tmp_path / "b.h5", SECOND[order], COORDS[order].astype(float))
    found = read_joined_features((one, other))
    np.testing.assert_array_equal(found.features, np.concatenate((FIRST, SECOND), 1).astype(np.float32))
    np.testing.assert_array_equal(found.coords, COORDS)
    assert joined_channels((one, other)) == (2, 3)


def test_without_coordinates_the_order_counts(tmp_path: Path) -> None:
    one, other = write_features(tmp_path / "a.h5", FIRST, COORDS), write_features(tmp_path / "b.h5", SECOND)
    np.testing.assert_array_equal(read_joined_features((one, other)).features[:, 2:], SECOND.astype(np.float32))


@pytest.mark.parametrize(
    ("features", "coords", "message"),
    [
        (SECOND[:4], None, "b.h5: 4 tiles, but .*a.h5 has 5"),
        (SECOND, COORDS + 1, "b.h5: its tiles lie elsewhere than those of .*a.h5"),
    ],
)
def test_other_tiles_are_refused(tmp_path: Path, features: np.ndarray, coords: np.ndarray | None, message: str) -> None:
    one, other = write_features(tmp_path / "a.h5", FIRST, COORDS), write_features(tmp_path / "b.h5", features, coords)
    with pytest.raises(InputError, match=message) as caught:
        read_joined_features((one, other))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used_are_told_apart_at_once(tmp_path: Path) -> None:
    good = write_features(tmp_path / "good.h5", np.ones((3, 2)))
    bad = write_features(tmp_path / "bad.h5", np.full((3, 2), np.nan))
    usable, faults = usable_features({"a": (good,), "b": (good, bad), "c": (tmp_path / "none.h5",)})
    assert usable == {"a": (good,)}
    assert list(faults) == ["b", "c"]
    assert "not finite" in faults["b"] and "no such features file" in faults["c"]
