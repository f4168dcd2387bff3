"""Find the description of a setting: by workflow for top-level names, by class for arguments of parts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hmgdm_monai.tasks.configs.settings import parts_networks, parts_tiles, parts_training
from hmgdm_monai.tasks.configs.settings.classification import Classification, TileEvaluation
from hmgdm_monai.tasks.configs.settings.inference import Inference
from hmgdm_monai.tasks.configs.settings.part import Part
from hmgdm_monai.tasks.configs.settings.patients import Patients
from hmgdm_monai.tasks.configs.settings.pretraining import Pretraining
from hmgdm_monai.tasks.configs.settings.run import Processes, Run

# By the name of the program of a config, the list of steps that its "run" stands for.
WORKFLOWS: dict[str, type[BaseModel]] = {
    "training": Pretraining,
    "classification": Classification,
    "survival": Patients,
    "inference": Inference,
    "evaluating": TileEvaluation,
}


class AnyRun(Run, Processes):
    """Settings of a config of the user's own."""


def workflow_settings(config: Mapping[str, Any]) -> type[BaseModel]:
    """Return the description of the top-level settings of a config.

    Args:
        config: content of the config, overrides included.
    """
    return next((found for name, found in WORKFLOWS.items() if name in config), AnyRun)


def part_settings(*targets: str) -> type[Part] | None:
    """Return the description of the arguments of a class or function, if there is one.

    Args:
        targets: its dotted names, the most telling one first.
    """
    known = _parts()
    for target in targets:
        prefixes = [name for name in known if target == name or name.endswith(".") and target.startswith(name)]
        if prefixes:
            return known[max(prefixes, key=len)]
    return None


def full_type(field: FieldInfo) -> Any:
    """Return the type of a described setting, its range included."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


@cache
def _parts() -> dict[str, type[Part]]:
    modules = (parts_tiles, parts_networks, parts_training)
    found = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    return {target: one for one in found if issubclass(one, Part) for target in one.targets}
