"""Survival models of patients with one function call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hmgdm_monai.tasks.bundle_workflow import ConfigFiles, run_bundle


def predict_survival(
    manifest: Path | str, output_dir: Path | str, config_file: ConfigFiles = "survival.json", **settings: Any
) -> dict[str, Any]:
    r"""Cross-validate survival models on the slides of patients.

    This runs the bundle's ``survival.json``. The same call resumes an interrupted run.

    Args:
        manifest: CSV with the columns ``image``, ``patient``, ``time`` and ``event`` (1 = died, 0 = censored),
            optionally ``features`` (HDF5 of any encoder, as CLAM and TRIDENT write it) and ``fold``.
        output_dir: output folder of the run: ``metrics.json``, ``predictions.csv``, Kaplan-Meier curves, and one model
            per fold.
        config_file: one or several configs.
        **settings: settings of the config, with the names of the command line: ``aggregator`` ("mean", "amil",
            "patch_gcn" or "deep_graph_conv"), ``loss`` ("cox" or "discrete"), ``pretrained`` (path of the encoder for
            slides without features; by default the encoder of the bundle), ``n_folds`` and so on.

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
    path = run_bundle(config_file, manifest, output_dir, settings) / "metrics.json"
    return dict(json.loads(path.read_text()))
