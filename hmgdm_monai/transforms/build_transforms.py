"""Build transforms from the config in a model file. The file is untrusted data, so only known transforms are built."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import monai.transforms
from monai.transforms import Compose

from hmgdm_monai.errors import InputError

TRUSTED_VARIABLE = "HMGDM_TRUSTED_PACKAGES"
_OURS = "hmgdm_monai.transforms."


def build_transforms(config: Mapping[str, Any]) -> Compose:
    """Build transforms from their config.

    The config has MONAI's form (``_target_`` and arguments) with plain values: no expressions and no references.
    Targets are transforms of this package and of MONAI. Other targets must be in a package listed in the environment
    variable ``HMGDM_TRUSTED_PACKAGES`` (separated by commas), because building them runs their code.

    Args:
        config: config of a ``Compose``, as a run saves it.

    Returns:
        The transforms.

    Raises:
        InputError: a target is unknown or not trusted, or does not accept its arguments.

    Example:
        >>> step = {"_target_": "hmgdm_monai.transforms.stain.NormalizeStaind", "keys": "image"}
        >>> len(build_transforms({"_target_": "Compose", "transforms": [step]}))
        1
    """
    built = _build(config)
    if not isinstance(built, Compose):
        raise InputError(f"tile transforms must be a Compose, not {type(built).__name__}; give a run's model.pt")
    return built


def _build(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_build(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    arguments = {str(name): _build(one) for name, one in value.items() if not str(name).startswith("_")}
    if "_target_" not in value:
        return arguments
    target = str(value["_target_"])
    try:
        return _located(target)(**arguments)
    except TypeError as error:
        raise InputError(f"tile transforms: {target} does not take these arguments ({error})") from error


def _located(target: str) -> Any:
    """Find the class or function of a target.

    Raises:
        InputError: it does not exist, or it is not trusted.
    """
    module, _, name = target.rpartition(".")
    if module in ("", "monai.transforms"):
        found = getattr(monai.transforms, name, None)
        if isinstance(found, type) and issubclass(found, monai.transforms.Transform):
            # Readers and writers of files accept the name of any class or function, and call it.
            if found.__module__.startswith("monai.transforms.io"):
                raise InputError(f"tile transforms: {target} reads or writes files; a model file must not do that")
            return found
        raise InputError(f"tile transforms: monai.transforms has no transform {name!r}")
    trusted = [package.strip() for package in os.environ.get(TRUSTED_VARIABLE, "").split(",") if package.strip()]
    if not target.startswith(_OURS) and target.split(".")[0] not in trusted:
        raise InputError(
            f"tile transforms: {target} is neither MONAI's nor ours; if you trust its package, set the environment "
            f"variable {TRUSTED_VARIABLE}={target.split('.')[0]}"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"tile transforms: {target} cannot be found ({error}); install its package") from error
    # A module also has the names that it imports from elsewhere.
    if target.startswith(_OURS) and getattr(found, "__module__", "") != module:
        raise InputError(f"tile transforms: {target} is not a transform of this package; give a run's model.pt")
    return found
