"""Models of patients with one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.bundle_workflow import ConfigFiles, metrics_of_bundle

_CONFIGS = {
    "survival": ("survival.json",),
    "classes": ("survival.json", "patient_classes.json"),
    "numbers": ("survival.json", "regress.json"),
    "competing_risks": ("survival.json", "competing_risks.json"),
}


def predict_patients(
    manifest: Path | str,
    output_dir: Path | str,
    target: str = "classes",
    config_file: ConfigFiles = (),
    **settings: Any,
) -> dict[str, Any]:
    r"""Cross-validate models that predict a class, a number or survival for each patient.

    This runs the bundle's ``survival.json``, with ``patient_classes.json`` or ``regress.json`` over it. The same call
    resumes an interrupted run.

    Args:
        manifest: CSV with the columns ``patient``, ``image`` or ``features`` (files of any encoder, as CLAM, TRIDENT
            and STAMP write them), and the column of the target; optionally ``fold``.
        output_dir: output folder of the run: ``metrics.json``, ``predictions.csv``, figures, and one model per fold.
        target: "classes", "numbers", "survival" or "competing_risks".
        config_file: one or several configs that override these.
        **settings: settings of the config, with the names of the command line: ``target_column`` (one column, or a
            list), ``classes``, ``ordered``, ``time_column``, ``event_column``, ``aggregator``, ``n_folds`` and so on.

    Returns:
        The content of ``metrics.json``: ``models`` with their scores, ``folds``, ``cohort`` and more; of several target
        columns ``targets``, with the same for each.

    Raises:
        InputError: there is no such target, a config or setting does not exist, the manifest or its slides cannot be
            used, or the folder holds a run with other settings.

    Example:
        >>> from pathlib import Path
        >>> import h5py, numpy as np
        >>> from hmgdm_monai import predict_patients
        >>> rows, rng = ["patient,features,mutation"], np.random.default_rng(0)
        >>> for n in range(24):
        ...     with h5py.File(f"s{n}.h5", "w") as file:  # 4 tiles, 5 features of each
        ...         file["features"] = rng.normal(size=(4, 5))
        ...     rows.append(f"P{n},s{n}.h5,{'yes' if n % 3 else 'no'}")
        >>> _ = Path("patients.csv").write_text("\n".join(rows))
        >>> small = {"aggregator": "mean", "n_folds": 2, "max_epochs": 2, "num_bootstrap": 5, "device": "cpu"}
        >>> metrics = predict_patients("patients.csv", "runs/mutation", target_column="mutation", **small)
        >>> list(metrics["models"]), metrics["cohort"]["classes"]
        (['mean', 'logistic_pca'], {'no': 8, 'yes': 16})
    """
    if target not in _CONFIGS:
        raise InputError(f"there is no target {target!r}; choose from {', '.join(_CONFIGS)}")
    more = [config_file] if isinstance(config_file, str | Path) else list(config_file)
    return metrics_of_bundle([*_CONFIGS[target], *more], manifest, output_dir, settings)


def predict_survival(
    manifest: Path | str, output_dir: Path | str, config_file: ConfigFiles = "survival.json", **settings: Any
) -> dict[str, Any]:
    r"""Cross-validate survival models on the slides of patients.

    This runs the bundle's ``survival.json``. The same call resumes an interrupted run.

    Args:
        manifest: CSV with the columns ``patient``, ``image`` or ``features`` (files of any encoder, as CLAM, TRIDENT
            and STAMP write them), ``time`` and ``event`` (1 = died, 0 = censored); optionally ``fold``.
        output_dir: output folder of the run: ``metrics.json``, ``predictions.csv``, Kaplan-Meier curves, and one model
            per fold.
        config_file: one or several configs.
        **settings: settings of the config, with the names of the command line: ``aggregator`` (a key of
            :data:`~hmgdm_monai.networks.aggregators.build.AGGREGATORS`), ``loss`` ("cox" or "discrete"),
            ``pretrained`` (path of the encoder for slides without features; by default the encoder of the bundle),
            ``n_folds`` and so on.

    Returns:
        The content of ``metrics.json``: ``models`` with their C-indices, ``folds``, ``cohort`` and more.

    Raises:
        InputError: a config or setting does not exist, the manifest or its slides cannot be used, or the folder holds a
            run with other settings.

    Example:
        >>> from pathlib import Path
        >>> import h5py, numpy as np
        >>> from hmgdm_monai import predict_survival
        >>> rows, rng = ["image,patient,features,time,event"], np.random.default_rng(0)
        >>> for n in range(24):
        ...     with h5py.File(f"s{n}.h5", "w") as file:  # 4 tiles, 5 features of each
        ...         file["features"] = rng.normal(size=(4, 5))
        ...     rows.append(f"s{n}.h5,P{n},s{n}.h5,{n + 1},{n // 2 % 2}")
        >>> _ = Path("patients.csv").write_text("\n".join(rows))
        >>> small = {"aggregator": "mean", "n_folds": 2, "max_epochs": 2, "num_bootstrap": 5, "device": "cpu"}
        >>> metrics = predict_survival("patients.csv", "runs/survival", **small)
        >>> list(metrics["models"])
        ['mean', 'cox_pca']
    """
    return metrics_of_bundle(config_file, manifest, output_dir, settings)
