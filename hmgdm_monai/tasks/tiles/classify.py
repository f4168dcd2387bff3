"""Classification of tiles with one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmgdm_monai.tasks.bundle_workflow import ConfigFiles, metrics_of_bundle


def classify(
    manifest: Path | str, output_dir: Path | str, config_file: ConfigFiles = "classify.json", **settings: Any
) -> dict[str, Any]:
    """Cross-validate classifiers of tiles in folds that share no patient.

    This runs the bundle's ``classify.json``. The same call resumes an interrupted run.

    Args:
        manifest: CSV with the columns ``image``, ``patient`` and ``label``, optionally ``fold``.
        output_dir: output folder of the run: ``metrics.json``, ``predictions.csv``, the confusion matrix, and one
            classifier per fold in ``checkpoints/``, which :func:`~hmgdm_monai.saving.classifier_file.load_classifier`
            loads.
        config_file: one or several configs.
        **settings: settings of the config, with the names of the command line: ``mode`` ("linear", "knn" or
            "finetune"), ``model`` (path of the encoder; by default the encoder of the bundle), ``n_folds`` and so on.

    Returns:
        The content of ``metrics.json``: ``overall``, ``folds``, ``classes`` and more.

    Raises:
        InputError: a config or setting does not exist, the manifest or its images cannot be used, or the folder holds a
            run with other settings.

    Example:
        >>> from hmgdm_monai import classify, make_demo_cohort
        >>> cohort = make_demo_cohort("cohort", n_patients=6, slide_px=256, mpp=1.0)
        >>> metrics = classify(cohort.slides, "runs/linear", mode="linear", n_folds=2, device="cpu")
        >>> metrics["classes"], metrics["overall"]["tiles"]
        (['benign', 'high_grade', 'low_grade'], 6)
    """
    return metrics_of_bundle(config_file, manifest, output_dir, settings)
