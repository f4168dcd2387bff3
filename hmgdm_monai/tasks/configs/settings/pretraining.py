"""Settings of train.json and of its override files."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from pydantic import BaseModel

from hmgdm_monai.tasks.configs.settings.run import Precision, Processes, Run, TileLimit
from hmgdm_monai.tasks.configs.settings.types import (
    Choices,
    Count,
    Flag,
    Mpp,
    NaturalNumber,
    NotNegative,
    OrNone,
    PathText,
    Positive,
    Text,
    Whole,
    setting,
)


class Tiles(BaseModel):
    """How tiles are made."""

    tile_size_px: Annotated[Whole, Ge(8)] = setting("Side of a tile, in px of the tile.", paper="256 or 512")
    tile_mpp: Mpp = setting("Scale of the tiles that are cut from slides, in um per px.")
    stain_method: OrNone[Annotated[str, Choices("hmgdm_monai.transforms.stain.METHODS")]] = setting(
        "`macenko` normalizes the stain of each tile first; `null` leaves it."
    )
    check_quality: Flag = setting(
        "Score focus, ink, folds and darkness of each tile, and leave out tiles beyond `quality_limits`: "
        "[own_data.md](own_data.md)."
    )


class Entities(BaseModel):
    """What the entities of a tile are."""

    entity_kind: Annotated[str, Choices("hmgdm_monai.transforms.build_cutter.ENTITY_KINDS")] = setting(
        "What the entities are: `superpixels`; `squares` of a grid; `cells`, found by hematoxylin or given in the "
        "manifest's column `cells`; `graphs` of another program, given in its column `graphs`: "
        "[entities.md](entities.md).",
        paper="",
    )
    n_segments: Count = setting("Approximate number of superpixels of a tile.", paper="")
    edge_latents: Flag = setting("Edges have latents of their own; `false` is the paper's ablation.", paper="")
    backbone: Text | dict[str, Any] | list[Text | dict[str, Any]] = setting(
        "The frozen network whose feature maps describe the entities: `efficientnet_lite0`, `segresnet_he`, an "
        "exported file, a folder or a hub name; with settings as a mapping, several as a list: "
        "[backbones.md](backbones.md)."
    )
    degraded_views: NaturalNumber = setting(
        "Number of views of each tile that are encoded beside the tile, with changed stain, focus and compression "
        "(`data::degrade`, below), turned or flipped. The encoder sees one of them, or the tile itself; the target is "
        "the tile itself. Each view takes the time and the space of another encoding.",
        paper="0",
    )


class Pretraining(Run, Processes, Precision, TileLimit, Tiles, Entities):
    """Settings of train.json."""

    max_epochs: Count = setting("Number of epochs. *Free*: more epochs continue a finished run.", paper="250")
    ckpt_dir: PathText = setting("Folder of the checkpoints.")
    val_interval: Count = setting("Number of epochs between validations. *Free*.")
    probe_interval: Count = setting("Number of epochs between linear probes, if the manifest has labels. *Free*.")
    batch_size: Count = setting("Number of graphs, or tiles, in a step.", paper="")
    accumulation_steps: Count = setting("Number of steps whose gradients are added before the weights change.")
    learning_rate: Positive = setting("Learning rate.", paper="0.0001")
    patience: Count = setting(
        "Number of validations without a better loss before training ends; after half of them the learning rate is "
        "multiplied by `lr_scheduler#factor`.",
        paper="10 (plateau)",
    )
    bottleneck_kl_weight: NotNegative = setting(
        "Weight of the encoder's Gaussian bottleneck; 0 removes the bottleneck.", paper="1"
    )
    dense_weight: NotNegative = setting("Weight lambda of the dense task; 0 disables it.")
    num_prototypes: Count = setting("Size of DINO's output.")
    view_px: Annotated[Whole, Ge(8)] = setting("Side of a view, in px.")
    temperature: Positive = setting("Temperature of the contrastive losses.")
    entities_file: PathText = setting("`entities.pt` of a run of `train_entities.json`.")
    budget_cpu_min: OrNone[Positive] = setting("Training ends after this CPU time, in minutes; `null` for no limit.")
