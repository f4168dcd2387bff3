"""Region adjacency equals a brute-force oracle; centroids are exact; merging stops at its threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import label

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.region_adjacency import (
    centroids_px,
    check_label_map,
    merge_similar_neighbors,
    number_by_first_pixel,
    region_adjacency,
)

label_maps = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 9)
).map(number_by_first_pixel)


def brute_force(labels: np.ndarray) -> list[tuple[int, int]]:
    height, width = labels.shape
    pairs = set()
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= y + dy < height and 0 <= x + dx < width:
                    a, b = int(labels[y, x]), int(labels[y + dy, x + dx])
                    if a < b:
                        pairs.add((a, b))
    return sorted(pairs)


@settings(max_examples=200, deadline=None)
@given(label_maps)
def test_edges_equal_brute_force(labels: np.ndarray) -> None:
    edges = region_adjacency(labels)
    assert edges.dtype == np.int64
    assert edges.shape[0] == 2
    assert list(zip(*edges.tolist(), strict=True)) == brute_force(labels)


def test_a_common_corner_is_no_edge() -> None:
    assert region_adjacency(np.array([[0, 1], [2, 3]])).T.tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]


@settings(max_examples=100, deadline=None)
@given(label_maps)
def test_centroids_are_means_of_pixel_centers_and_flip_with_the_map(labels: np.ndarray) -> None:
    centroids = centroids_px(labels)
    for k, centroid in enumerate(centroids):
        rows, columns = np.nonzero(labels == k)
        assert np.allclose(centroid, (columns.mean() + 0.5, rows.mean() + 0.5), atol=1e-12)
    flipped = centroids_px(labels[:, ::-1])
    assert np.allclose(flipped[:, 0], labels.shape[1] - centroids[:, 0], atol=1e-12)
    assert np.array_equal(flipped[:, 1], centroids[:, 1])


def test_many_labels_do_not_overflow() -> None:
    labels = np.arange(300 * 300, dtype=np.int32).reshape(300, 300)
    edges = region_adjacency(labels)
    assert edges.shape[1] == 2 * 300 * 299
    assert set(np.diff(edges, axis=0).ravel().tolist()) == {1, 300}


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        (np.zeros((2, 4, 4), np.int32), "shape"),
        (np.zeros((4, 4), np.float32), "integers"),
        (np.zeros((0, 4), np.int32), "shape"),
        (np.array([[0, 2, 2]]), "Label 1"),
        (np.array([[-1, 0]]), "-1"),
        (np.array([[0, 99]]), "99"),
        (np.array([[1, 1]]), "Label 0"),
    ],
)
def test_bad_label_maps_are_named_in_one_line(labels: np.ndarray, word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        check_label_map(labels)
    assert "\n" not in str(error.value)


def stripes(*grays: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(grays), dtype=np.int32), 4)[None].repeat(6, axis=0)
    image = np.repeat(np.array(grays, np.uint8)[labels][..., None], 3, axis=-1)
    return image, labels


def test_like_neighbors_merge_and_unlike_stay() -> None:
    image, labels = stripes(100, 102, 200, 201, 100)
    merged = merge_similar_neighbors(image, labels, threshold=0.02)
    assert merged[0, ::4].tolist() == [0, 0, 1, 1, 2]  # the last is like the first, but does not touch it


def test_a_slow_ramp_does_not_merge_end_to_end() -> None:
    image, labels = stripes(*range(0, 250, 10))
    step = np.sqrt(3) * 10 / (255 * 3)
    merged = merge_similar_neighbors(image, labels, threshold=step * 1.01)
    assert 1 < merged.max() + 1 < labels.max() + 1
    assert np.array_equal(merge_similar_neighbors(image, labels, threshold=step * 0.99), labels)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), threshold=st.floats(0.0, 0.3))
def test_merging_leaves_no_like_neighbors_and_keeps_pieces_whole(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(np.arange(20, dtype=np.int32).reshape(4, 5), np.ones((3, 3), np.int32))
    image = rng.integers(0, 256, (20, 3), dtype=np.uint8)[labels]
    merged = merge_similar_neighbors(image, labels, threshold)
    assert all(label(merged == k)[1] == 1 for k in range(merged.max() + 1))
    means = np.array([image[merged == k].mean(axis=0) for k in range(merged.max() + 1)])
    for i, j in region_adjacency(merged).T:
        assert np.linalg.norm(means[i] - means[j]) / (255 * 3) >= threshold - 1e-12
    for k in range(20):
        assert len(np.unique(merged[labels == k])) == 1
