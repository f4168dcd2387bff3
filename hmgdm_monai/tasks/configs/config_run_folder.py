"""The run folder of a config. Its settings are taken from the config, overrides on the command line included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hmgdm_monai.handlers.tracking_database import check_trackable
from hmgdm_monai.tasks.configs.fold_config import TRAINING
from hmgdm_monai.tasks.configs.plain import plain_settings
from hmgdm_monai.tasks.configs.running import running_config
from hmgdm_monai.tasks.run_folder import RunFolder

# Parts of a config that identify a run; each config has some of them.
PRETRAINING = (
    "data",
    "recipe",
    "images",
    "prior",
    "views",
    "backbone_entities",
    "given_entities",
    "entities",
    "network_def",
    "noising",
    "loss",
    "optimizer",
    "lr_scheduler",
    "early_stop#patience",
    "clock",
    "checkpoint#keep",
    "handlers#lr_schedule",
    "train#dataloader",
    "train#iteration",
    "train#trainer",
    "validate#dataloader",
    "num_threads",
)
CROSS_VALIDATION = (
    "mode",
    "manifest",
    "model",
    "pretrained",
    "targets",
    "strict_manifest",
    "data#strict_manifest",
    "max_tiles_per_slide",
    "seed",
    "n_folds",
    "val_fraction",
    "use_manifest_folds",
    "site_column",
    "methods",
    "graph",
    "num_threads",
    *TRAINING,
)
# Settings that may change between runs into one folder.
FREE = ("output_dir", "dataset_dir", "ckpt_dir", "bundle_root", "device", "num_workers")
# Parts that only watch a training: another progress bar does not make it another run.
WATCHING = ("train#handlers", "train#key_metric")
FREE_IN_PRETRAINING = (*FREE, "max_epochs", "val_interval", "probe_interval")
# Each file of an inference has a key of its own, so all settings may change between two inferences.
FREE_IN_INFERENCE = (*FREE, "manifest", "model", "classifier", "patient_model", "seed", "max_tiles_per_slide")


def pretraining_run_folder(path: Path | str, identity: Sequence[str] = PRETRAINING) -> RunFolder:
    """Return the output folder of a pretraining. More epochs continue a finished run.

    Args:
        path: path of the folder.
        identity: names of the parts of the config that identify the run.

    Raises:
        InputError: no config is running, or MLflow would misread the path.
    """
    return _run_folder(path, identity, FREE_IN_PRETRAINING)


def cross_validation_run_folder(path: Path | str, identity: Sequence[str] = CROSS_VALIDATION) -> RunFolder:
    """Return the output folder of a cross-validation or an evaluation. Another number of epochs is another run.

    Args:
        path: path of the folder.
        identity: names of the parts of the config that identify the run.

    Raises:
        InputError: no config is running, or MLflow would misread the path.
    """
    return _run_folder(path, identity, FREE)


def inference_run_folder(path: Path | str, task: str) -> RunFolder:
    """Return the output folder of an inference or an evaluation of tiles. The next run replaces its results.

    Args:
        path: path of the folder.
        task: name of the task; a folder of another task is refused.

    Raises:
        InputError: no config is running.
    """
    free = plain_settings(running_config(), FREE_IN_INFERENCE)
    return RunFolder(path, {"task": task}, free, _stores(free))


def _run_folder(path: Path | str, identity: Sequence[str], free: Sequence[str]) -> RunFolder:
    check_trackable(path)
    parser = running_config()
    given = plain_settings(parser, free)
    return RunFolder(path, plain_settings(parser, identity, (*free, *WATCHING)), given, _stores(given))


def _stores(settings: Mapping[str, Any]) -> list[str]:
    """Return the folders that a run fills before it claims its output folder."""
    return [settings[name] for name in ("dataset_dir", "ckpt_dir") if isinstance(settings.get(name), str)]
