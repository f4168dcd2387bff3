"""How a pretrained model wants its tiles: read from the settings that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.diffusion.noising import GraphNoising
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_sample import cutter_of, stain_of
from hmgdm_monai.preparation.graph_recipe import GraphRecipe


def recipe_of(run_settings: Mapping[str, Any], max_tiles_per_slide: int | None = None, seed: int = 0) -> GraphRecipe:
    """Tiles and graphs as in training, but for their number: of every slide all, or ``max_tiles_per_slide``.

    Args:
        run_settings: of a pretrained model.
        max_tiles_per_slide: draws that many tiles, spread evenly over the tissue, of a slide that has more.
        seed: of that draw.

    Raises:
        InputError: the settings lack one that shapes a tile or its graph, or there were no tiles.
    """
    try:
        data = run_settings["data"]
        spec = TileSpec(data["tile_size_px"], data["tile_mpp"], data["tile_overlap_px"], data["min_tissue"])
    except KeyError as error:
        raise InputError(
            f"the model's settings lack {error}, so its tiles cannot be made; give a run's model.pt"
        ) from None
    return GraphRecipe(spec, cutter_of(run_settings), stain_of(run_settings), max_tiles_per_slide, seed)


def noising_of(run_settings: Mapping[str, Any]) -> GraphNoising:
    """The forward process that a model was trained with.

    Raises:
        InputError: the settings lack one that shapes it.
    """
    from diffusers import DDPMScheduler

    try:
        settings = run_settings["hmgdm"]
        scheduler = DDPMScheduler(
            num_train_timesteps=settings["num_timesteps"],
            beta_start=settings["beta_start"],
            beta_end=settings["beta_end"],
            beta_schedule="sigmoid",
            prediction_type=settings["prediction_type"],
            clip_sample=False,
        )
        return GraphNoising(scheduler, settings["noise_intensity"])
    except KeyError as error:
        raise InputError(
            f"the model's settings lack {error}, so its noise is unknown; give a model.pt of train.json"
        ) from None
