"""How a pretrained model wants its tiles, and the noise of its training: read from the settings in its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_sample import transforms_of
from hmgdm_monai.preparation.tile_recipe import TileRecipe


def recipe_of(run_settings: Mapping[str, Any], max_tiles_per_slide: int | None = None, seed: int = 0) -> TileRecipe:
    """Tiles and graphs as in training, but for their number: of every slide all, or ``max_tiles_per_slide``.

    Args:
        run_settings: of a pretrained model.
        max_tiles_per_slide: draws that many tiles, spread evenly over the tissue, of a slide that has more.
        seed: of that draw.

    Raises:
        InputError: the settings lack one that shapes a tile or its graph, or there were no tiles.
    """
    try:
        spec = {name: value for name, value in run_settings["recipe"]["tile_spec"].items() if name != "_target_"}
        tile_spec = TileSpec(**spec)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the model's settings do not tell how its tiles are made ({error}); give a run's model.pt"
        ) from None
    return TileRecipe(tile_spec, transforms_of(run_settings), max_tiles_per_slide, seed)


def noising_of(run_settings: Mapping[str, Any]) -> Noising:
    """The forward process that a model was trained with.

    Args:
        run_settings: of a pretrained model.

    Raises:
        InputError: the settings do not tell.
    """
    from diffusers import DDPMScheduler

    try:
        settings = run_settings["noising"]
        scheduler = {name: value for name, value in settings["scheduler"].items() if name != "_target_"}
        return Noising(DDPMScheduler(**scheduler), settings["noise_intensity"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the model's settings do not tell the noise of its training ({error}); give a model.pt of train.json"
        ) from None
