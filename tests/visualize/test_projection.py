from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.projection import draw_projection, project


@pytest.fixture
def clusters():
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(3, 20)) * 6
    return np.repeat(centers, 20, axis=0) + generator.normal(size=(60, 20)), np.repeat(list("abc"), 20)


def test_neighbors_stay_neighbors_and_the_seed_decides(clusters):
    features, names = clusters
    points = project(features, "tsne", seed=1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(60)
    assert (names[distances.argmin(1)] == names).mean() > 0.95
    np.testing.assert_array_equal(points, project(features, "tsne", seed=1))


@pytest.mark.slow
def test_umap_does_the_same(clusters):
    features, names = clusters
    points = project(features, "umap", seed=1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(60)
    assert (names[distances.argmin(1)] == names).mean() > 0.95
    np.testing.assert_array_equal(points, project(features, "umap", seed=1))


def test_few_tiles_and_unknown_methods(clusters):
    assert project(clusters[0][:4]).shape == (4, 2)
    with pytest.raises(InputError, match="four"):
        project(clusters[0][:3])
    with pytest.raises(InputError, match="pca"):
        project(clusters[0], "pca")


def test_legend_or_color_bar_by_what_the_column_holds(clusters):
    points = clusters[0][:, :2]
    texts = [str(name) for name in clusters[1]]
    texts[0] = ""
    legend = draw_projection(points, "label", texts, "tsne", "t").axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["none given", "a (19)", "b (20)", "c (20)"]
    assert legend.get_title().get_text() == "label"
    figure = draw_projection(points, "time", [str(value) for value in np.linspace(0, 9, 60)], "umap", "t")
    assert figure.axes[1].get_ylabel() == "time"
    many = draw_projection(points, "site", [f"s{number % 40}" for number in range(60)], "tsne", "t")
    assert len(many.axes[0].get_legend().get_texts()) == 20
    assert sum(len(dots.get_offsets()) for dots in many.axes[0].collections) == 60
