"""Baselines of a run of patients: linear models of clinical columns, of mean features, and of the model's output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.bags import Patient, PatientBags
from hmgdm_monai.tasks.patients.clinical import encode_column

# Inputs of each baseline; its name in a report begins with that of the linear model: cox_pca, logistic_pca, ridge_pca.
BASELINES = {
    "clinical": ("clinical",),
    "pca": ("pca",),
    "clinical_pca": ("clinical", "pca"),
    "clinical_model": ("clinical", "model"),
}


def check_baselines(names: Sequence[str], prefix: str, clinical_columns: Sequence[str], has_validation: bool) -> None:
    """Check the names of baselines before work starts.

    Args:
        names: names such as "cox_pca".
        prefix: name of the linear model of the target, such as "cox".
        clinical_columns: columns for the clinical baselines.
        has_validation: whether inner validation patients are held out.

    Raises:
        InputError: a baseline is unknown, its columns are not named, or it needs inner validation patients.
    """
    known = [f"{prefix}_{name}" for name in BASELINES]
    if unknown := sorted(set(names) - set(known)):
        raise InputError(f"no baseline is called {', '.join(map(repr, unknown))}; choose from {', '.join(known)}")
    for name in names:
        inputs = BASELINES[name.removeprefix(f"{prefix}_")]
        if "clinical" in inputs and not clinical_columns:
            raise InputError(f"baseline {name!r} needs columns of the manifest; name them in clinical_columns")
        if "model" in inputs and not has_validation:
            raise InputError(
                f"baseline {name!r} is fitted to inner validation patients, which the model has not been trained on; "
                "set epoch_selection to 'validation'"
            )


def mean_features(bags: PatientBags) -> np.ndarray:
    """Return the mean over the tiles of each patient, (P, D)."""
    return np.stack([bags[place].x.double().mean(0).numpy() for place in range(len(bags))])


def principal_components(
    features: np.ndarray, train: np.ndarray, test: np.ndarray, count: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first principal components of standardized mean features, themselves standardized, (Q, C) and (P, C).

    Scaling and components are fitted on the training split. The number of components is at most the number of training
    patients minus one.

    Args:
        features: (N, D) of all patients, from :func:`mean_features`.
        train: indices of the training split.
        test: indices of the test split.
        count: maximum number of components.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    count = min(count, features.shape[1], len(train) - 1)
    pipeline = make_pipeline(StandardScaler(), PCA(count, svd_solver="full"), StandardScaler())
    x_train = pipeline.fit_transform(features[train])
    return x_train, pipeline.transform(features[test])


def clinical_inputs(
    patients: Sequence[Patient], columns: Sequence[str], train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return clinical columns as standardized numbers, (Q, C) and (P, C).

    See :func:`~hmgdm_monai.tasks.patients.clinical.encode_column`. Columns that do not vary on the training split are
    skipped.

    Args:
        patients: all patients.
        columns: names of the clinical columns.
        train: indices of the training split.
        test: indices of the test split.

    Raises:
        InputError: no column varies.
    """
    cells = {column: [patient.columns[column] for patient in patients] for column in columns}
    x = np.stack([values for column in columns for values in encode_column(column, cells[column], train).values()], 1)
    spread = x[train].std(0)
    if not (spread > 0).any():
        raise InputError(f"none of the clinical columns {', '.join(columns)} varies; name others in clinical_columns")
    x = ((x - x[train].mean(0)) / np.where(spread > 0, spread, 1))[:, spread > 0]
    return x[train], x[test]


def output_inputs(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's outputs as standardized numbers, (Q, K) and (P, K).

    Args:
        train: (Q, K) outputs for patients that the model was not trained on.
        test: (P, K) outputs for the test patients.
    """
    mean, spread = train.mean(0), train.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    return (train - mean) / spread, (test - mean) / spread
