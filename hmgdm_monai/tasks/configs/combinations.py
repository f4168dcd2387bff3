"""Values of settings that are possible alone, but not together."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from hmgdm_monai.entities.backbones.build import EMBEDDED, build_backbone
from hmgdm_monai.entities.backbones.exported_file import EXPORTED_SUFFIXES
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.configs.components import (
    SEPARATOR,
    components,
    followed,
    has_reference,
    is_disabled,
    references,
    target_of,
    texts,
    used_names,
)
from hmgdm_monai.tasks.configs.plain import plain_settings
from hmgdm_monai.tasks.configs.settings.phrases import one_of

# Modules whose classes and functions need only plain values and do no work when they are built.
_PLAIN_MODULES = (
    "hmgdm_monai.data.tiles.tiling",
    "hmgdm_monai.diffusion.",
    "hmgdm_monai.entities.window_autoencoder",
    "hmgdm_monai.losses.",
    "hmgdm_monai.networks.encoders.tile_vit",
    "hmgdm_monai.networks.methods.masked_autoencoder",
    "hmgdm_monai.transforms.",
)


def wrong_combinations(parser: ConfigParser, wrong: Collection[str] = ()) -> list[str]:
    """Return one phrase for each group of settings that cannot be used together.

    Components that need only plain values are built for a test, without memory for their weights.

    Args:
        parser: parser of the config, overrides included. Texts that stand for values are converted.
        wrong: paths of values that are wrong alone. What contains or refers to one of them is left out.
    """
    return [*_by_rules(parser), *_by_building(parser, wrong)]


def _by_rules(parser: ConfigParser) -> list[str]:
    faults = []
    mode, methods = parser.get("mode"), parser.get("methods")
    if isinstance(mode, str) and isinstance(methods, dict) and not has_reference(mode) and mode not in methods:
        faults.append(f"mode: must be {one_of(list(methods))}, not {mode}")
    for name in parser.get("baselines") or []:
        if "_clinical" in str(name) and not parser.get("clinical_columns"):
            faults.append(f"clinical_columns: the baseline {name} needs columns of the manifest; name some")
        if str(name).endswith("_model") and parser.get("epoch_selection") == "fixed":
            faults.append(f"epoch_selection: the baseline {name} needs validation, not fixed")
    dim, heads = (_size(parser, f"network_def{SEPARATOR}{name}") for name in ("hidden_dim", "heads"))
    if dim and heads and dim % heads:
        faults.append(f"network_def#heads: must divide hidden_dim {dim}, not {heads}")
    tile_px = _size(parser, "tile_size_px")
    patch_px = _size(parser, SEPARATOR.join(("network_def", "vit", "patch_px")))
    if tile_px and patch_px and tile_px % patch_px:
        faults.append(f"network_def#vit#patch_px: must divide tile_size_px {tile_px}, not {patch_px}")
    return faults + _by_backbone(parser)


def _by_backbone(parser: ConfigParser) -> list[str]:
    given = parser.get("backbone")
    if given is None or "backbone" not in used_names(parser.get()) or has_reference(given):
        return []
    faults = []
    for one in given if isinstance(given, list) else [given]:
        try:
            _check_backbone(one)
        except InputError as error:
            faults.append(f"backbone: {error}")
    return faults


def _check_backbone(settings: Any) -> None:
    """Build a backbone without memory for weights, unless its weights are in a file or on the hub."""
    name = settings.get("name") if isinstance(settings, dict) else settings
    if isinstance(name, str) and name not in EMBEDDED:
        if Path(name).suffix in EXPORTED_SUFFIXES:
            if not Path(name).is_file():
                raise InputError(f"there is no file {name}; give the path of an exported backbone")
            return
        if "/" in name or Path(name).is_dir():
            return
    with torch.device("meta"):
        build_backbone(settings, published=False)


def _size(parser: ConfigParser, name: str) -> int:
    """Return a size of the config, or 0 if there is none."""
    value = followed(parser, name, parser.get(name))[1]
    return value if isinstance(value, int) and value > 0 else 0


def _by_building(parser: ConfigParser, wrong: Collection[str]) -> list[str]:
    faults = []
    for name, component in components(parser.get()):
        target = target_of(parser, component)
        if target is None or is_disabled(component) or not target.__module__.startswith(_PLAIN_MODULES):
            continue
        if any(path.startswith(f"{name}{SEPARATOR}") for path in wrong) or _refers_to(parser, component, wrong, set()):
            continue
        settings: Any = plain_settings(parser, [name])
        for part in name.split(SEPARATOR):
            settings = settings[part] if isinstance(settings, dict) and part in settings else None
        if settings is None or _has_reference_inside(settings):
            continue
        builder = ConfigParser({"part": settings})
        builder.locator = parser.locator  # to list the classes of MONAI takes a moment
        try:
            with torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it comes again when the component is built for use
                builder.get_parsed_content("part")
        except (RuntimeError, ValueError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, ValueError | InputError):
                faults.append(f"{name.replace(SEPARATOR, '#')}: {cause}")
    return faults


def _refers_to(parser: ConfigParser, value: Any, wrong: Collection[str], seen: set[str]) -> bool:
    """Whether a value refers to a wrong one, directly or through others."""
    names = {name for text in texts(value) for name in references(text)} - seen
    seen |= names
    within = any(path == name or path.startswith(f"{name}{SEPARATOR}") for path in wrong for name in names)
    return within or any(_refers_to(parser, parser.get(name), wrong, seen) for name in names)


def _has_reference_inside(value: Any) -> bool:
    """Whether a value, components included, contains a reference or an expression."""
    if isinstance(value, dict):
        return any(_has_reference_inside(one) for one in value.values())
    if isinstance(value, list):
        return any(_has_reference_inside(one) for one in value)
    return isinstance(value, str) and value.startswith(("@", "$", "%"))
