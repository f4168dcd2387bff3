from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.classification import classification_metrics
from hmgdm_monai.saving.tile_encoders import build_tile_encoder
from hmgdm_monai.tasks.folds import make_folds
from hmgdm_monai.tasks.tiles.methods import LinearProbe, NearestNeighbors

METHODS = [LinearProbe(), NearestNeighbors()]


VIT = {"image_px": 16, "patch_px": 8, "hidden_dim": 8, "num_layers": 1, "heads": 2}
ENCODER = build_tile_encoder("vit", {"vit": VIT, "readout": "mean"}, {})


def data_of(kind: str, classes: int = 3, number: int = 90) -> SimpleNamespace:
    """Stand-in for ClassificationData with embeddings that tell all, nothing, or something."""
    rng = np.random.default_rng(0)
    labels = np.arange(number) % classes
    noise = rng.normal(size=(number, 8))
    if kind == "perfect":
        noise[:, :classes] = 10 * np.eye(classes)[labels]
    elif kind == "constant":
        noise[:] = 0.1
    else:
        noise[:, :classes] += np.eye(classes)[labels]
    return SimpleNamespace(
        embeddings=noise.astype(np.float32),
        labels=labels,
        classes=tuple("abcd"[:classes]),
        patients=np.array([f"p{i // 6}" for i in range(number)]),
        pretrained=SimpleNamespace(encoder=ENCODER),
    )


def scores_of(method, data) -> list[dict]:
    scores = []
    for fold in make_folds(data.labels, data.patients, 3):
        head = method.fit(data, fold).network.head
        probabilities = head(torch.from_numpy(data.embeddings[fold.test])).softmax(1).numpy()
        scores.append(classification_metrics(data.labels[fold.test], probabilities, data.classes))
    return scores


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.mode)
def test_perfect_features_are_told_and_constant_ones_are_chance(method, classes):
    assert [fold["balanced_accuracy"] for fold in scores_of(method, data_of("perfect", classes))] == [1.0] * 3
    for fold in scores_of(method, data_of("constant", classes)):
        assert fold["balanced_accuracy"] == pytest.approx(1 / classes)
        assert fold["macro_auc"] == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_head_is_scikit_learn_s_regression(classes):
    data = data_of("some", classes)
    fold = make_folds(data.labels, data.patients, 3)[0]
    fitted = LinearProbe(strengths=(0.1,)).fit(data, fold)
    both = np.concatenate((fold.train, fold.val))
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000, tol=1e-3)
    ).fit(data.embeddings[both], data.labels[both])
    found = fitted.network.head(torch.from_numpy(data.embeddings)).softmax(1).numpy()
    assert np.allclose(found, model.predict_proba(data.embeddings), atol=1e-4)
    assert fitted.chosen == {"strength": 0.1}


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.mode)
def test_the_test_side_has_no_say(method):
    """What a model is does not change when its test tiles turn into anything else."""
    data = data_of("some")
    fold = make_folds(data.labels, data.patients, 3)[1]
    first = method.fit(data, fold)
    data.embeddings[fold.test] = np.nan
    data.labels[fold.test] = 0
    second = method.fit(data, fold)
    assert first.chosen == second.chosen
    assert all(torch.equal(v, second.network.state_dict()[k]) for k, v in first.network.state_dict().items())


def test_settings_out_of_range():
    with pytest.raises(InputError, match="at least 1"):
        NearestNeighbors(neighbors=(0, 5))
