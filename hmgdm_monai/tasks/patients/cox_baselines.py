"""Baselines of a survival run: Cox models on clinical columns and on mean-pooled features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hmgdm_monai.data.manifest.table import number_of
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags


@dataclass(frozen=True)
class CoxPrediction:
    """Log hazard ratios of both sides of a fold, and survival curves of the test side.

    Attributes:
        train_risk: (Q,). risk: (P,) of the test patients. survival: (P, T) at the asked times.
    """

    train_risk: np.ndarray
    risk: np.ndarray
    survival: np.ndarray


def mean_features(bags: PatientBags) -> np.ndarray:
    """Mean over the tiles of each patient, (P, D)."""
    return np.stack([bags[place].x.double().mean(0).numpy() for place in range(len(bags))])


def cox_on_pca(
    features: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    times: np.ndarray,
    components: int = 16,
    ridge: float = 1.0,
) -> CoxPrediction:
    """Cox's model (Efron ties) on the first principal components of standardized mean features.

    Scaling and components come from the training side; there are no more components than patients there less one.

    Args:
        features: (N, D) of all patients, from :func:`mean_features`.
        time: (N,).
        event: (N,).
        train: indices of the training side.
        test: indices of the test side.
        times: (T,) at which survival is asked for.
        components: at most.
        ridge: penalty ridge / 2 * sum of squared coefficients of standardized components, on the log likelihood's sum.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    count = min(components, features.shape[1], len(train) - 1)
    pipeline = make_pipeline(StandardScaler(), PCA(count, svd_solver="full"), StandardScaler())
    x_train = pipeline.fit_transform(features[train])
    return _cox(x_train, pipeline.transform(features[test]), time[train], event[train], times, ridge)


def cox_on_columns(
    patients: Sequence[Patient],
    columns: Sequence[str],
    time: np.ndarray,
    event: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    times: np.ndarray,
    ridge: float = 1.0,
) -> CoxPrediction:
    """Cox's model (Efron ties) on clinical columns; arguments as those of :func:`cox_on_pca`.

    A column whose every filled cell is a number counts as one; others are categories, of which the training side's
    commonest is the reference. Missing numbers become the training median, missing or unknown categories the reference.
    Columns that do not vary on the training side are passed over.

    Raises:
        InputError: no column varies.
    """
    x = np.concatenate([_encode([p.columns[c] for p in patients], train) for c in columns], 1)
    spread = x[train].std(0)
    if not (spread > 0).any():
        raise InputError(f"none of the clinical columns {', '.join(columns)} varies; name others in clinical_columns")
    x = ((x - x[train].mean(0)) / np.where(spread > 0, spread, 1))[:, spread > 0]
    return _cox(x[train], x[test], time[train], event[train], times, ridge)


def _encode(cells: Sequence[str], train: np.ndarray) -> np.ndarray:
    """Design columns (N, C) of one manifest column."""
    filled = {cell for cell in cells if cell}
    if any(number_of(cell) is None for cell in filled):
        return _one_hot(np.array(cells), train)
    numbers = np.array([float(cell) if cell else np.nan for cell in cells])
    known = numbers[train][np.isfinite(numbers[train])]
    return np.where(np.isfinite(numbers), numbers, np.median(known) if len(known) else 0.0)[:, None]


def _one_hot(cells: np.ndarray, train: np.ndarray) -> np.ndarray:
    names, counts = np.unique(cells[train][cells[train] != ""], return_counts=True)
    if len(names) == 0:
        return np.zeros((len(cells), 1))
    others = np.delete(names, np.argmax(counts))
    return (cells[:, None] == others[None]).astype(float).reshape(len(cells), -1)


def _cox(
    x_train: np.ndarray, x_test: np.ndarray, time: np.ndarray, event: np.ndarray, times: np.ndarray, ridge: float
) -> CoxPrediction:
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    model = CoxPHSurvivalAnalysis(alpha=ridge, ties="efron")
    try:
        model.fit(x_train, Surv.from_arrays(event.astype(bool), time))
    except (np.linalg.LinAlgError, ValueError) as error:
        raise InputError(f"the Cox baseline can not be fitted ({error}); raise cox_ridge above {ridge:g}") from error
    curves = model.predict_survival_function(x_test)
    first, last = curves[0].domain
    survival = np.stack([np.atleast_1d(curve(np.clip(times, first, last))) for curve in curves])
    survival[:, times < first] = 1.0
    return CoxPrediction(model.predict(x_train), model.predict(x_test), survival)
