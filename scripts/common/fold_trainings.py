"""The trainings of classify.json and survival.json, for whoever brings data of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

CONFIGS = Path(__file__).parents[2] / "bundle/configs"


def survival_config(data: Any, folder: Path, **settings: Any) -> Any:
    """How survival.json trains a fold of some data; files go into ``folder``."""
    from hmgdm_monai.tasks.configs.fold_config import FoldConfig

    settings = {"device": "cpu", "ckpt_dir": str(folder), **settings}
    return FoldConfig.of_files([CONFIGS / "survival.json"], {"data": data}, **settings)


def survival_parts(bags: Any, fold: Any, folder: Path, **settings: Any) -> Any:
    """The parts of survival.json for a fold of some bags."""
    return survival_config(SimpleNamespace(bags=bags), folder, **settings).parts(fold=fold)


def finetuning(data: Any, folder: Path, **settings: Any) -> Any:
    """How classify.json fine-tunes a fold of some data; MLflow's files go into ``folder``."""
    from hmgdm_monai.tasks.configs.fold_config import FoldConfig
    from hmgdm_monai.tasks.tiles.finetuning import FineTuning

    settings = {"device": "cpu", "output_dir": str(folder), **settings}
    return FineTuning(FoldConfig.of_files([CONFIGS / "classify.json"], {"data": data}, **settings))
