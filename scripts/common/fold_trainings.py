"""The trainings of classify.json and survival.json, for benchmarks and tests with their own data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

CONFIGS = Path(__file__).parents[2] / "bundle/configs"


def patient_config(data: Any, folder: Path, *overrides: str, **settings: Any) -> Any:
    """Return the config with which survival.json, under its overrides, trains a fold; files go into ``folder``."""
    from hmgdm_monai.tasks.configs.fold_config import FoldConfig

    settings = {"device": "cpu", "ckpt_dir": str(folder), **settings}
    files = [CONFIGS / name for name in ("survival.json", *overrides)]
    return FoldConfig.of_files(files, {"data": data}, **settings)


def patient_parts(bags: Any, target: Any, fold: Any, folder: Path, *overrides: str, **settings: Any) -> Any:
    """Return the parts that train a fold of given bags for a target."""
    data = SimpleNamespace(bags=bags, targets=[target])
    return patient_config(data, folder, *overrides, **settings).parts(fold=fold, target=target)


def finetuning(data: Any, folder: Path, **settings: Any) -> Any:
    """Return the fine-tuning of classify.json for given data; MLflow's files go into ``folder``."""
    from hmgdm_monai.tasks.configs.fold_config import FoldConfig
    from hmgdm_monai.tasks.tiles.finetuning import FineTuning

    settings = {"device": "cpu", "output_dir": str(folder), **settings}
    return FineTuning(FoldConfig.of_files([CONFIGS / "classify.json"], {"data": data}, **settings))
