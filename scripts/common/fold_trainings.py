"""The trainings of classify.json and survival.json, for benchmarks and tests with their own data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

CONFIGS = Path(__file__).parents[2] / "bundle/configs"


def survival_config(data: Any, folder: Path, **settings: Any) -> Any:
    """Return the config with which survival.json trains a fold; files go into ``folder``."""
    from hmgdm_monai.tasks.configs.fold_config import FoldConfig

    settings = {"device": "cpu", "ckpt_dir": str(folder), **settings}
    return FoldConfig.of_files([CONFIGS / "survival.json"], {"data": data}, **settings)


def survival_parts(bags: Any, fold: Any, folder: Path, **settings: Any) -> Any:
    """Return the parts of survival.json for a fold of given bags."""
    return survival_config(SimpleNamespace(bags=bags), folder, **settings).parts(fold=fold)


def finetuning(data: Any, folder: Path, **settings: Any) -> Any:
    """Return the fine-tuning of classify.json for given data; MLflow's files go into ``folder``."""
    from hmgdm_monai.tasks.configs.fold_config import FoldConfig
    from hmgdm_monai.tasks.tiles.finetuning import FineTuning

    settings = {"device": "cpu", "output_dir": str(folder), **settings}
    return FineTuning(FoldConfig.of_files([CONFIGS / "classify.json"], {"data": data}, **settings))
