"""Settings of inference.json."""

from __future__ import annotations

from typing import Annotated

from hmgdm_monai.tasks.configs.settings.run import Run, Strictness, TileLimit
from hmgdm_monai.tasks.configs.settings.types import (
    Choices,
    Count,
    NaturalNumber,
    OrNone,
    PathText,
    Text,
    setting,
)


class Inference(Run, Strictness, TileLimit):
    """Settings of inference.json."""

    model: PathText = setting(
        "`model.pt` of a run of train.json, with dirl.json or without; by default the one of the bundle. Tiles are "
        "made with the settings that it was trained with."
    )
    classifier: OrNone[PathText] = setting(
        "A classifier of classify.json: the network then takes tiles and gives a score for each class, and maps show "
        "probabilities and, of a fine-tuned one, attention. `null` for none: the network gives embeddings. By default "
        "that of the demo run, if there is one."
    )
    patient_model: OrNone[PathText] = setting(
        "A model of survival.json, patient_classes.json or regress.json, or the folder of its folds: maps show its "
        "attention and prediction. `null` for none. By default that of the demo run, if there is one."
    )
    num_workers: NaturalNumber = setting("Processes that build graphs; 0 does this in the main process. *Free*.")
    batch_tiles: Count = setting("Number of tiles that the network takes at once.")
    projection_method: Annotated[str, Choices("hmgdm_monai.visualize.projection.METHODS")] = setting(
        "Method that projects the embeddings to two dimensions."
    )
    projection_column: OrNone[Text] = setting(
        "Column of the manifest that colors the projection; `null` for the label if there are any, else the patient."
    )
    projection_tiles: NaturalNumber = setting("Maximum number of tiles in the projection; 0 for no projection.")
    superpixel_tiles: NaturalNumber = setting("Number of tiles, each from another slide, whose superpixels are drawn.")
