"""Connected pieces equal SciPy's; small ones go to the neighbor nearest in color."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from hmgdm_monai.transforms.connected_pieces import connect, pieces_of
from hmgdm_monai.transforms.region_adjacency import number_by_first_pixel

label_maps = hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=15), elements=st.integers(0, 3))


@settings(max_examples=200, deadline=None)
@given(label_maps)
def test_pieces_equal_scipy(labels: np.ndarray) -> None:
    expected = np.zeros(labels.shape, int)
    for k in np.unique(labels):
        of_label, count = label(labels == k)
        expected[labels == k] = (of_label + expected.max())[labels == k]
    pieces, sizes = pieces_of(labels)
    assert np.array_equal(pieces, number_by_first_pixel(expected))
    assert np.array_equal(sizes, np.bincount(pieces.ravel()))


@settings(max_examples=200, deadline=None)
@given(label_maps, st.integers(0, 30), st.integers(0, 100))
def test_no_piece_stays_small_and_large_ones_stay_whole(labels: np.ndarray, min_size: int, seed: int) -> None:
    planes = np.random.default_rng(seed).random((3, *labels.shape), dtype=np.float32)
    pieces, sizes = pieces_of(labels)
    connected = connect(planes, labels, min_size)
    assert np.array_equal(connected, number_by_first_pixel(connected))
    for k, size in enumerate(np.bincount(connected.ravel())):
        assert size >= min_size or connected.max() == 0
        assert label(connected == k)[1] == 1
    for k in range(len(sizes)):
        assert len(np.unique(connected[pieces == k])) == 1
    if (sizes >= min_size).all():
        assert np.array_equal(connected, pieces)


def test_a_small_piece_joins_the_neighbor_nearest_in_color() -> None:
    labels = np.zeros((10, 30), np.int32)
    labels[:, 20:] = 1
    labels[3:6, 18:20] = 2  # 2 px wide between both; its longer border is with 0
    gray = np.where(labels == 0, 0.0, np.where(labels == 1, 1.0, 0.8)).astype(np.float32)
    connected = connect(np.stack([gray] * 3), labels, 50)
    assert (connected[labels == 2] == connected[0, 29]).all()
    assert connected.max() == 1
