"""Scores of frozen features: out-of-fold predictions, and intervals over groups."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hmgdm_monai.errors import InputError

FOLDS = 5
NEIGHBOURS = 10
SHARES = (0.01, 0.05, 0.1, 1.0)
STRENGTH = 1e-2  # C of every probe
DRAWS = 3  # of the labelled groups, for each share below all
METRICS = ("balanced_accuracy", "auc")


def grouped_folds(
    labels: np.ndarray, groups: np.ndarray, seed: int, folds: int = FOLDS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of training and test indices, stratified by class, no group on both sides.

    Raises:
        InputError: fewer than two classes, or a class that stands in one group alone.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = _fewest_groups(labels, groups)
    if len(np.unique(labels)) < 2 or fewest < 2:
        raise InputError(
            f"scores need two classes or more, each in two groups or more; got {len(np.unique(labels))} classes, the "
            f"rarest in {fewest} groups"
        )
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(labels, labels, groups))


def predictions(
    features: np.ndarray, spoilt: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Out-of-fold class probabilities (N, K), classes in order.

    Args:
        features: (N, D) of the tiles as they are, on which all probes are fitted.
        spoilt: kind -> (N, D) of the same tiles, spoilt.
        labels, groups: (N,).
        seed: of the folds.

    Returns:
        "linear" and "knn" on the tiles as they are; and for each kind, the linear probe on spoilt tiles.
    """
    from hmgdm_monai.metrics.linear_probe import fit_probe

    classes = np.unique(labels)
    found = {name: np.zeros((len(labels), len(classes))) for name in ("linear", "knn", *spoilt)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # a probe that has not converged is still a probe
        for train, test in grouped_folds(labels, groups, seed):
            probe, _ = fit_probe(features[train], labels[train], [], (STRENGTH,))
            columns = np.searchsorted(classes, probe.classes_)
            for name, values in {"linear": features, **spoilt}.items():
                found[name][np.ix_(test, columns)] = probe.predict_proba(values[test])
            found["knn"][test] = _neighbours(features[train], labels[train], features[test], classes)
    return found


def label_efficiency(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> dict[str, float]:
    """Balanced accuracy of a linear probe that is fitted to a share of the training groups: "1 %" -> value.

    Of every training side whole groups are drawn, as many as the share comes to, and at least so many that each class
    is there; see :func:`some_groups`. Shares below all are drawn several times and averaged.
    """
    from hmgdm_monai.metrics.linear_probe import ProbePredictions, balanced_accuracy, fit_probe

    classes = np.unique(labels)
    folds = grouped_folds(labels, groups, seed)
    result = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")
        for share in SHARES:
            scores = []
            for draw in range(DRAWS if share < 1 else 1):
                found = np.zeros((len(labels), len(classes)))
                for number, (train, test) in enumerate(folds):
                    rng = np.random.default_rng((seed, draw, number))
                    some = train[np.isin(groups[train], some_groups(labels[train], groups[train], share, rng))]
                    probe, _ = fit_probe(features[some], labels[some], [], (STRENGTH,))
                    columns = np.searchsorted(classes, probe.classes_)
                    found[np.ix_(test, columns)] = probe.predict_proba(features[test])
                scores.append(balanced_accuracy(labels, ProbePredictions(classes, found)))
            result[f"{100 * share:g} %"] = float(np.mean(scores))
    return result


def some_groups(labels: np.ndarray, groups: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Names of ``share`` of the groups, rounded up, drawn so that every class is among their tiles.

    Groups come in random order; first those are taken that bring a class which is not there yet, then the others. So
    with many classes there may be more groups than the share comes to.
    """
    order = rng.permutation(np.unique(groups))
    taken: list[Any] = []
    missing = set(np.unique(labels))
    for group in order:
        brings = missing & set(labels[groups == group])
        if brings:
            taken.append(group)
            missing -= brings
    wanted = math.ceil(share * len(order))
    rest = [group for group in order if group not in set(taken)]
    return np.array([*taken, *rest[: max(0, wanted - len(taken))]])


class GroupScores:
    """Balanced accuracy, and AUC of the classes that are not negative against those that are, by resampled groups.

    Both are sums over groups or pairs of groups, so that a draw of groups with return is a weighting of them.

    Args:
        probabilities: (N, K), classes in order.
        labels, groups: (N,).
        negatives: classes.
    """

    def __init__(
        self, probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray, negatives: Sequence[str]
    ) -> None:
        classes = np.unique(labels)
        names, place = np.unique(groups, return_inverse=True)
        self.num_groups = len(names)
        right = classes[probabilities.argmax(1)] == labels
        member = np.eye(len(names))[place]  # (N, G)
        of_class = (labels[:, None] == classes).astype(float)  # (N, K)
        self._tiles, self._right = member.T @ of_class, member.T @ (of_class * right[:, None])  # (G, K)
        positive = ~np.isin(labels, negatives)
        value = probabilities[:, ~np.isin(classes, negatives)].sum(1)
        high, low = value[positive], value[~positive]
        wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
        self._wins = member[positive].T @ wins @ member[~positive]  # (G, G)
        self._pairs = np.outer(member[positive].sum(0), member[~positive].sum(0))

    def __call__(self, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Scores (R,) of R weightings (R, G) of the groups; NaN where a class is not drawn. Without, all count once."""
        w = np.ones((1, self.num_groups)) if weights is None else weights
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = (w @ self._right) / (w @ self._tiles)
            auc = np.einsum("rg,gh,rh->r", w, self._wins, w) / np.einsum("rg,gh,rh->r", w, self._pairs, w)
        return {"balanced_accuracy": recall.mean(1), "auc": auc}


def resampled_groups(count: int, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each of ``count`` groups is drawn, (R, G), in draws with return."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws).astype(float)


def summarise(scores: Sequence[GroupScores], weights: np.ndarray) -> dict[str, dict[str, Any]]:
    """Per metric: value of each seed, mean, standard deviation over seeds, 95 % interval over groups, and its draws.

    Args:
        scores: of one method, one for each seed, on the same tiles.
        weights: (R, G) of :func:`resampled_groups`.
    """
    values, drawn = [score() for score in scores], [score(weights) for score in scores]
    result = {}
    for metric in METRICS:
        each = [float(value[metric][0]) for value in values]
        draws = np.mean([draw[metric] for draw in drawn], axis=0)
        result[metric] = {
            "seeds": each,
            "mean": float(np.mean(each)),
            "sd": float(np.std(each, ddof=1)) if len(each) > 1 else None,
            "interval": _interval(draws),
            "draws": draws,
        }
    return result


def paired(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Difference of two methods in a metric of :func:`summarise`, over the same draws of groups.

    Returns:
        ``difference`` of the means, its 95 % ``interval`` over groups, ``share_above``: in how many draws ours is
        higher; and ``seeds``, the differences seed by seed.
    """
    draws = ours["draws"] - theirs["draws"]
    draws = draws[np.isfinite(draws)]
    return {
        "difference": ours["mean"] - theirs["mean"],
        "interval": _interval(draws),
        "share_above": float((draws > 0).mean()) if len(draws) else None,
        "seeds": [a - b for a, b in zip(ours["seeds"], theirs["seeds"], strict=True)],
    }


def _neighbours(train: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: np.ndarray) -> np.ndarray:
    import torch

    from hmgdm_monai.networks.embedding_heads import NearestNeighbourHead

    known, codes = np.unique(labels, return_inverse=True)
    weights = torch.from_numpy(len(labels) / (len(known) * np.bincount(codes))).float()
    head = NearestNeighbourHead(train.shape[1], len(known), len(train), NEIGHBOURS)
    head.set(torch.from_numpy(train).float(), torch.from_numpy(codes), weights)
    found = np.zeros((len(test), len(classes)))
    found[:, np.searchsorted(classes, known)] = head(torch.from_numpy(test).float()).exp().numpy()
    return found


def _interval(draws: np.ndarray) -> list[float] | None:
    draws = draws[np.isfinite(draws)]
    return [float(value) for value in np.percentile(draws, (2.5, 97.5))] if len(draws) else None


def _fewest_groups(labels: np.ndarray, groups: np.ndarray) -> int:
    return min((len(np.unique(groups[labels == c])) for c in np.unique(labels)), default=0)
