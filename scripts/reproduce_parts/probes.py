"""Out-of-fold class probabilities from frozen features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from reproduce_parts.corruption import CLEAN
from reproduce_parts.folds import grouped_folds, some_of

NEIGHBORS = 10
STRENGTH = 1e-2  # C of every linear probe
FEW = 0.1  # fraction of the labeled groups of a training side
LINEAR, LINEAR_FEW, KNN = "linear", f"linear, {100 * FEW:g} %", "knn"
PROBES = (LINEAR, LINEAR_FEW, KNN)


def probe_predictions(
    features: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, fold_seed: int
) -> dict[str, np.ndarray]:
    """Return class probabilities (N, K), classes in order; no tile is predicted by a probe that has seen its group.

    Args:
        features: kind of corruption -> (N, D) of the same tiles; all probes are fitted to clean tiles.
        labels: (N,) class of each tile.
        groups: (N,) group of each tile.
        fold_seed: seed of the folds.

    Returns:
        "linear", a logistic regression; the same regression, fitted to a fraction of the labeled groups; "knn"; and for
        each kind of corruption, the linear probe on corrupted tiles.
    """
    clean, classes = features[CLEAN], np.unique(labels)
    corrupted = {kind: values for kind, values in features.items() if kind != CLEAN}
    found = {name: np.zeros((len(labels), len(classes))) for name in (*PROBES, *corrupted)}
    for number, (train, test) in enumerate(grouped_folds(labels, groups, fold_seed)):
        probe = _fitted(clean[train], labels[train])
        few = some_of(train, labels, groups, FEW, fold_seed, number)
        columns = np.searchsorted(classes, probe.classes_)
        for name, values in {LINEAR: clean, **corrupted}.items():
            found[name][np.ix_(test, columns)] = probe.predict_proba(values[test])
        probe = _fitted(clean[few], labels[few])
        columns = np.searchsorted(classes, probe.classes_)
        found[LINEAR_FEW][np.ix_(test, columns)] = probe.predict_proba(clean[test])
        found[KNN][test] = _nearest(clean[train], labels[train], clean[test], classes)
    return found


def _fitted(features: np.ndarray, labels: np.ndarray):
    from hmgdm_monai.metrics.linear_probe import fit_probe

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # a probe that has not converged is still valid
        return fit_probe(features, labels, [], (STRENGTH,))[0]


def _nearest(train: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: np.ndarray) -> np.ndarray:
    import torch

    from hmgdm_monai.losses.class_weights import class_weights
    from hmgdm_monai.networks.classifiers.embedding_heads import NearestNeighborHead

    known, codes = np.unique(labels, return_inverse=True)
    head = NearestNeighborHead(train.shape[1], len(known), len(train), NEIGHBORS)
    head.set(torch.from_numpy(train).float(), torch.from_numpy(codes), class_weights(codes, len(known)))
    found = np.zeros((len(test), len(classes)))
    found[:, np.searchsorted(classes, known)] = head(torch.from_numpy(test).float()).exp().numpy()
    return found
