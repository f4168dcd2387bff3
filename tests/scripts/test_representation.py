"""The representation benchmark: what it hands to pretraining, how it scores, and that it can be resumed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_parts import representation
from benchmark_parts.baselines import color_texture, pooled, pooled_latents
from skimage.io import imsave

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError

CLASSES = ("0_stroma_benign", "1_gleason3", "2_gleason4")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder like that of the prostate tiles: 3 classes x 4 biopsies x 2 labeled tiles, 1 unlabeled each."""
    folder = tmp_path / "data" / "prostate_gleason"
    (folder / "unlabelled").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for number, name in enumerate(CLASSES):
        (folder / "labelled" / name).mkdir(parents=True)
        for biopsy in (f"b{4 * number + k}" for k in range(4)):
            for i in range(2):
                image = rng.integers(60 * number, 60 * number + 90, (64, 64, 3)).astype(np.uint8)
                imsave(folder / "labelled" / name / f"{biopsy}_{i}.jpeg", image, check_contrast=False)
                rows.append([f"{name}/{biopsy}_{i}.jpeg", name, biopsy])
            imsave(folder / "unlabelled" / f"{biopsy}_9.jpeg", image, check_contrast=False)
    with (folder / "labelled" / "manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file", "class", "group"], *rows])
    return tmp_path / "data"


def test_pretraining_is_given_biopsies_and_no_labels(data: Path, tmp_path: Path) -> None:
    cohort = representation.prostate_cohort(data)
    assert sum(tile.label is not None for tile in cohort) == 24
    assert {tile.biopsy for tile in cohort} == {tile.biopsy for tile in cohort if tile.label is None}
    path = representation.write_pretraining_manifest(cohort, tmp_path / "out" / "manifest.csv")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 36
    assert set(rows[0]) == {"image", "patient"}
    assert all(Path(row["image"]).is_file() for row in rows)


def test_a_trial_run_keeps_some_tiles_of_every_biopsy(data: Path) -> None:
    cohort = representation.prostate_cohort(data, max_tiles=1)
    assert len(cohort) == 24
    assert len({tile.biopsy for tile in cohort}) == 12


def test_scores_are_computed_once_and_again_for_other_features(data: Path, tmp_path: Path) -> None:
    tiles = [tile for tile in representation.prostate_cohort(data) if tile.label is not None]
    calls = []

    def score(features, tiles, fold_seed):
        calls.append(fold_seed)
        return {"balanced_accuracy": float(features.sum())}

    features = np.ones((len(tiles), 2))
    first = representation.ScoreFile(tmp_path / "scores.json", score)(features, tiles, 0)
    again = representation.ScoreFile(tmp_path / "scores.json", score)
    assert again(features, tiles, 0) == first
    assert calls == [0]
    again(features, tiles, 1)
    again(2 * features, tiles, 0)
    assert calls == [0, 1, 0]


def test_features_that_tell_the_class_score_full_marks_and_noise_does_not(data: Path) -> None:
    tiles = [tile for tile in representation.prostate_cohort(data) if tile.label is not None]
    telling = np.array([[CLASSES.index(tile.label) == k for k in range(3)] for tile in tiles], dtype=float)
    assert representation.probe_scores(telling, tiles, 0) == {"balanced_accuracy": 1.0, "auc": 1.0}
    noise = np.random.default_rng(0).normal(size=telling.shape)
    assert representation.probe_scores(noise, tiles, 0)["balanced_accuracy"] < 0.8


def test_spread_over_seeds_and_over_folds_are_kept_apart() -> None:
    def row(*values: float) -> list[dict[str, float]]:
        return [{"balanced_accuracy": value, "auc": value} for value in values]

    summary = representation.summarize({"a": {0: row(0.4, 0.6), 1: row(0.6, 0.8)}, "b": {None: row(0.5, 0.5)}})
    assert summary["a"]["auc"] == pytest.approx(0.6)
    assert summary["a"]["auc_sd_seeds"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert summary["a"]["auc_sd_folds"] == pytest.approx(np.std([0.4, 0.6], ddof=1))
    assert np.isnan(summary["b"]["auc_sd_seeds"])
    table = representation.markdown_table(summary, {"a": 3, "b": 4}).splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert "| b | 4 | 1 | 0.500 | - | 0.000 |" in table[-1]


def test_plain_features_are_kept_for_the_same_tiles_only(data: Path, tmp_path: Path, monkeypatch) -> None:
    labeled = [tile for tile in representation.prostate_cohort(data) if tile.label is not None][:6]
    first = representation.floor_features(labeled, tmp_path / "floor.npz")
    assert first.shape == (6, 61)
    monkeypatch.setattr("benchmark_parts.baselines.color_texture", lambda image: np.zeros(1))
    np.testing.assert_array_equal(representation.floor_features(labeled, tmp_path / "floor.npz"), first)
    assert representation.floor_features(labeled[1:], tmp_path / "floor.npz").shape == (5, 1)


def test_a_setting_without_a_value_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NAME=VALUE"):
        representation.pretrain(tmp_path / "manifest.csv", tmp_path / "run", tmp_path, 0, ["max_epochs"])


def test_pooling_does_not_hang_on_the_order_of_entities() -> None:
    rng = np.random.default_rng(0)
    vertices, edges = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    assert pooled(vertices, edges).shape == (12,)
    np.testing.assert_allclose(pooled(vertices[::-1], edges[::-1]), pooled(vertices, edges))
    assert pooled(vertices).shape == (6,)
    latents = [EntityGraph(vertex_latents=torch.randn(5, 3), edge_latents=torch.randn(7, 3)) for _ in range(2)]
    whole = pooled_latents(latents)
    assert whole.shape == (2, 12)
    for graph in latents:
        del graph.edge_latents
    np.testing.assert_array_equal(pooled_latents(latents), whole[:, :6])


def test_color_and_texture_are_finite_even_of_a_blank_tile() -> None:
    blank = color_texture(np.full((64, 64, 3), 240, np.uint8))
    assert blank.shape == (61,)
    assert np.isfinite(blank).all()
