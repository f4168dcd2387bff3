"""Values of settings that are possible alone, but not together."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from monai.bundle import ConfigParser

from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.configs.components import (
    SEPARATOR,
    components,
    has_reference,
    is_disabled,
    target_of,
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
    if "cox_clinical" in (parser.get("baselines") or []) and not parser.get("clinical_columns"):
        faults.append("clinical_columns: the baseline cox_clinical needs columns of the manifest; name some")
    network = plain_settings(parser, ["network_def"]).get("network_def")
    network = network if isinstance(network, dict) else {}
    dim, heads = network.get("hidden_dim"), network.get("heads")
    if _is_size(dim) and _is_size(heads) and dim % heads:
        faults.append(f"network_def#heads: must divide hidden_dim {dim}, not {heads}")
    tile_px, patch_px = parser.get("tile_size_px"), network.get("vit", {}).get("patch_px")
    if _is_size(tile_px) and _is_size(patch_px) and tile_px % patch_px:
        faults.append(f"network_def#vit#patch_px: must divide tile_size_px {tile_px}, not {patch_px}")
    return faults


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _by_building(parser: ConfigParser, wrong: Collection[str]) -> list[str]:
    faults = []
    for name, component in components(parser.get()):
        target = target_of(parser, component)
        if target is None or is_disabled(component) or not target.__module__.startswith(_PLAIN_MODULES):
            continue
        if any(path.startswith(f"{name}{SEPARATOR}") for path in wrong) or used_names(component).intersection(wrong):
            continue
        settings: Any = plain_settings(parser, [name])
        for part in name.split(SEPARATOR):
            settings = settings[part] if isinstance(settings, dict) and part in settings else None
        if settings is None or _has_reference_inside(settings):
            continue
        builder = ConfigParser({"part": settings})
        builder.locator = parser.locator  # to list the classes of MONAI takes a moment
        try:
            with torch.device("meta"):
                builder.get_parsed_content("part")
        except (RuntimeError, ValueError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, ValueError | InputError):
                faults.append(f"{name.replace(SEPARATOR, '#')}: {cause}")
    return faults


def _has_reference_inside(value: Any) -> bool:
    """Whether a value, components included, contains a reference or an expression."""
    if isinstance(value, dict):
        return any(_has_reference_inside(one) for one in value.values())
    if isinstance(value, list):
        return any(_has_reference_inside(one) for one in value)
    return isinstance(value, str) and value.startswith(("@", "$", "%"))
