"""Baselines of a survival run: Cox models of clinical columns and of mean features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hmgdm_monai.data.manifest.table import number_of
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags


@dataclass(frozen=True)
class CoxPrediction:
    """Log hazard ratios of training and test split, and survival curves of the test split.

    Attributes:
        train_risk: (Q,) log hazard ratios of the training patients.
        risk: (P,) log hazard ratios of the test patients.
        survival: (P, T) survival probabilities of the test patients at the given times.
    """

    train_risk: np.ndarray
    risk: np.ndarray
    survival: np.ndarray


def mean_features(bags: PatientBags) -> np.ndarray:
    """Return the mean over the tiles of each patient, (P, D)."""
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
    """Fit Cox's model (Efron ties) to the first principal components of standardized mean features.

    Scaling and components are fitted on the training split. The number of components is at most the number of training
    patients minus one.

    Args:
        features: (N, D) of all patients, from :func:`mean_features`.
        time: (N,) times.
        event: (N,) 1 = died, 0 = censored.
        train: indices of the training split.
        test: indices of the test split.
        times: (T,) times at which survival is predicted.
        components: maximum number of components.
        ridge: penalty ridge / 2 * sum of squared coefficients of standardized components, subtracted from the sum of
            the log likelihood.
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
    """Fit Cox's model (Efron ties) to clinical columns.

    If all filled cells of a column are numbers, the column is a number. Other columns are categories; the most frequent
    category of the training split is the reference. Missing numbers become the training median; missing or unknown
    categories become the reference. Columns that do not vary on the training split are skipped.

    Args:
        patients: all patients.
        columns: names of the clinical columns.
        time: (N,) times.
        event: (N,) 1 = died, 0 = censored.
        train: indices of the training split.
        test: indices of the test split.
        times: (T,) times at which survival is predicted.
        ridge: penalty; see :func:`cox_on_pca`.

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
    """Return design columns (N, C) of one manifest column."""
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
        raise InputError(f"the Cox baseline cannot be fitted ({error}); raise cox_ridge above {ridge:g}") from error
    curves = model.predict_survival_function(x_test)
    first, last = curves[0].domain
    survival = np.stack([np.atleast_1d(curve(np.clip(times, first, last))) for curve in curves])
    survival[:, times < first] = 1.0
    return CoxPrediction(model.predict(x_train), model.predict(x_test), survival)
