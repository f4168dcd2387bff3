"""Tiles and noise of a pretrained model, from the settings in its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmgdm_monai.data.tiles.mask import MaskRule
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_sample import transforms_of
from hmgdm_monai.preparation.tile_recipe import TileRecipe


def recipe_of(
    run_settings: Mapping[str, Any],
    max_tiles_per_slide: int | None = None,
    seed: int = 0,
    mask: Mapping[str, Any] | None = None,
) -> TileRecipe:
    """Return the recipe that makes tiles and graphs as in training; only the choice of tiles may differ.

    Args:
        run_settings: settings of the run that trained the model.
        max_tiles_per_slide: if a slide has more tiles, that many are drawn, evenly over the tissue. None takes all.
        seed: seed of this draw.
        mask: arguments of :class:`~hmgdm_monai.data.tiles.mask.MaskRule`; None takes those of the training.

    Raises:
        InputError: a setting that shapes tiles or graphs is missing, or the model was trained without tiles.
    """
    try:
        spec = {name: value for name, value in run_settings["recipe"]["tile_spec"].items() if name != "_target_"}
        tile_spec = TileSpec(**spec)
        rule = run_settings["recipe"].get("mask", {}) if mask is None else mask
        mask_rule = MaskRule(**{name: value for name, value in rule.items() if name != "_target_"})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the model's settings do not define how its tiles are made ({error}); give a model.pt of a training run"
        ) from None
    return TileRecipe(tile_spec, transforms_of(run_settings), max_tiles_per_slide, seed, mask_rule)


def noising_of(run_settings: Mapping[str, Any]) -> Noising:
    """Return the forward process that a model was trained with.

    Args:
        run_settings: settings of the run that trained the model.

    Raises:
        InputError: the settings do not contain it.
    """
    from diffusers import DDPMScheduler

    try:
        settings = run_settings["noising"]
        scheduler = {name: value for name, value in settings["scheduler"].items() if name != "_target_"}
        return Noising(DDPMScheduler(**scheduler), settings["noise_intensity"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the model's settings do not contain the noise of its training ({error}); give a model.pt of train.json"
        ) from None
