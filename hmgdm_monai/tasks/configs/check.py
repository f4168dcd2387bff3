"""Check all settings of a run before any work."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.configs.combinations import wrong_combinations
from hmgdm_monai.tasks.configs.components import SEPARATOR, is_component, references, texts
from hmgdm_monai.tasks.configs.running import null_arguments, running_config
from hmgdm_monai.tasks.configs.unknown import no_such_setting, settings_without_effect, unknown_settings
from hmgdm_monai.tasks.configs.wrong_values import convert_values

logger = logging.getLogger(__name__)


def check_running_settings() -> None:
    """Check the settings of the running config; see :func:`check_settings`.

    ``None`` on the command line, which MONAI ignores, becomes null.

    Raises:
        InputError: a setting is unknown or has a value that it cannot have, or no config is running.
    """
    check_settings(running_config(), null_arguments())


def check_settings(parser: ConfigParser, nulls: Collection[str] = ()) -> None:
    """Refuse a config if a setting is unknown or has a value that it cannot have.

    Texts that stand for a number, a truth value or null become these. If an override leaves another setting without
    effect, as ``optimizer::lr`` does with ``learning_rate``, this is logged.

    Args:
        parser: parser of the config, overrides included.
        nulls: names of settings to set to null first.

    Raises:
        InputError: there are such settings; each has a line, in the order of their names.
    """
    faults = _set_nulls(parser, nulls)
    replaced, wrong = convert_values(parser)
    faults += [*unknown_settings(parser), *wrong.values(), *_missing_references(parser), *_missing_device(parser)]
    faults += wrong_combinations(parser, set(wrong))
    if faults:
        raise InputError("\n".join(sorted(set(faults))))
    for name in settings_without_effect(parser):
        logger.warning("%s has no effect: nothing refers to it after the overrides", name)
    if replaced or nulls:
        parser.parse(reset=True)


def _set_nulls(parser: ConfigParser, names: Collection[str]) -> list[str]:
    """Set settings to null, and return a phrase for each that cannot be."""
    faults = []
    for name in map(ReferenceResolver.normalize_id, names):
        group, _, last = name.rpartition(SEPARATOR)
        if name.startswith(f"handlers{SEPARATOR}") and group == "handlers":
            faults.append(f"handlers#{last}: cannot be null; switch a handler off by --handlers#{last}#_disabled_ True")
        elif name in parser or is_component(parser.get(group) if group else None):
            parser[name] = None
        else:
            around: Any = parser.get(group) if group else parser.get()
            faults.append(no_such_setting(name, last, sorted(around) if isinstance(around, dict) else []))
    return faults


def _missing_references(parser: ConfigParser) -> list[str]:
    config = parser.get()
    return [
        f"{name}: refers to @{found.replace(SEPARATOR, '#')}, which is not there; see that it is spelled right"
        for name in config
        if name != parser.meta_key
        for text in texts(config[name])
        for found in references(text)
        if found and found not in parser
    ]


def _missing_device(parser: ConfigParser) -> list[str]:
    device = parser.get("device")
    if not isinstance(device, str) or not device.startswith("cuda"):
        return []
    place, count = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    if place < count:
        return []
    there = f"the CUDA devices are 0 to {count - 1}" if count else "there is no CUDA device; use cpu"
    return [f"device: must be a device of this machine, not {device}; {there}"]
