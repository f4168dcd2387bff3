"""Build targets, for configs and from model files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.patients.baselines import BASELINES
from hmgdm_monai.tasks.patients.targets.classes import ClassTarget, GradeTarget
from hmgdm_monai.tasks.patients.targets.competing import CompetingRisksTarget
from hmgdm_monai.tasks.patients.targets.numbers import NumberTarget
from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget
from hmgdm_monai.tasks.patients.targets.target import Target

KINDS: dict[str, type[Target]] = {
    one.kind: one for one in (SurvivalTarget, CompetingRisksTarget, ClassTarget, GradeTarget, NumberTarget)
}


def baseline_names() -> list[str]:
    """Return the names of all baselines of all targets."""
    prefixes = dict.fromkeys(kind.baseline for kind in KINDS.values())
    return [f"{prefix}_{name}" for prefix in prefixes for name in BASELINES]


def class_targets(
    columns: str | Sequence[str], classes: Sequence[Any] | None = None, ordered: bool = False
) -> list[ClassTarget]:
    """Return a target of classes for each column.

    Args:
        columns: a column, or several.
        classes: the classes of all columns; None takes those that each column contains.
        ordered: the classes are grades, in order.

    Raises:
        InputError: no column is given, or one twice, or the classes cannot be used.
    """
    kind = GradeTarget if ordered else ClassTarget
    return [kind(column, classes) for column in _columns(columns)]


def number_targets(columns: str | Sequence[str]) -> list[NumberTarget]:
    """Return a target of numbers for each column.

    Args:
        columns: a column, or several.

    Raises:
        InputError: no column is given, or one twice.
    """
    return [NumberTarget(column) for column in _columns(columns)]


def target_of(settings: Mapping[str, Any], columns: Mapping[str, str | None] | None = None) -> Target:
    """Return the target of a model file.

    Args:
        settings: :attr:`~hmgdm_monai.tasks.patients.targets.target.Target.settings` of the target.
        columns: names of columns in another table, by argument (``time_column``, ``event_column``, ``target_column``);
            None keeps the name of the training.

    Raises:
        InputError: there is no such kind of target.
    """
    arguments = {name: value for name, value in settings.items() if name != "kind"}
    for name, column in (columns or {}).items():
        argument = "column" if name == "target_column" else name
        if column is not None and argument in arguments:
            arguments[argument] = column
    if settings["kind"] not in KINDS:
        raise InputError(f"there is no target of kind {settings['kind']!r}; there are {', '.join(KINDS)}")
    return KINDS[settings["kind"]](**arguments)


def _columns(columns: str | Sequence[str]) -> list[str]:
    found = [columns] if isinstance(columns, str) else list(columns)
    if not found or len(set(found)) < len(found):
        raise InputError(f"target_column must name one column or several, each once, not {', '.join(found) or 'none'}")
    return found
