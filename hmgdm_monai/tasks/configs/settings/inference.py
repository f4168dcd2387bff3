"""Settings of inference.json."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le, MultipleOf

from hmgdm_monai.tasks.configs.settings.run import Run, Strictness, TileLimit
from hmgdm_monai.tasks.configs.settings.types import (
    Choices,
    Count,
    Flag,
    NaturalNumber,
    OrNone,
    PathText,
    Phrase,
    Positive,
    Real,
    Text,
    setting,
)

Overlap = Annotated[Real, Ge(0), Le(0.5), MultipleOf(0.5), Phrase("0 or 0.5")]


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
    patient_model: OrNone[PathText | list[PathText]] = setting(
        "A model of survival.json, patient_classes.json or regress.json, several, or the folder of its folds: maps "
        "show its attention and prediction. `null` for none. By default that of the demo run, if there is one."
    )
    check_quality: Flag = setting(
        "Leave out tiles beyond `quality_limits`, if the model was trained without this check: "
        "[own_data.md](own_data.md)."
    )
    mask: OrNone[dict[str, Any]] = setting(
        "Which values of masks in the manifest's column `mask` are kept: `inside`, `outside` and `min_share` of "
        "`recipe::mask` of train.json; `null` takes those of the training."
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
    map_resolution: Annotated[str, Choices("hmgdm_monai.tasks.inference.report.MAP_RESOLUTIONS")] = setting(
        "`superpixel`: maps of slides in superpixels, and figures of the highest and lowest ones; slides are read once "
        "more. `tile`: maps in tiles. By default `superpixel` for a model of train.json."
    )
    map_overlap: Overlap = setting(
        "0.5: tiles overlap by half and are averaged, so that borders follow the tissue; takes four times as long."
    )
    map_mpp: Positive = setting("Scale of the maps of superpixels, in um per px.")
    map_extremes: Count = setting("Number of the highest, and of the lowest, tiles in the figures.")
    geojson_mb: Positive = setting(
        "Maximum size of the GeoJSON of a slide's superpixels, in MB; superpixels are merged until it fits."
    )
