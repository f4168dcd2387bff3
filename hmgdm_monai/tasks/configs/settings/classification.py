"""Settings of classify.json and evaluate.json."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from hmgdm_monai.tasks.configs.settings.run import Precision, Processes, Run, Strictness, TileLimit
from hmgdm_monai.tasks.configs.settings.types import (
    Choices,
    Count,
    InnerShare,
    PathText,
    Positive,
    Text,
    Whole,
    setting,
)


class Classification(Run, Processes, Precision, TileLimit):
    """Settings of classify.json."""

    manifest: PathText = setting(
        "CSV with the columns `image`, `patient` and `label`, optionally `fold` and `mpp`. The default, tiles of a "
        "synthetic demo cohort, is drawn if it is missing."
    )
    mode: Text = setting(
        "One of `methods`. `linear`: logistic regression on frozen embeddings; `knn`: their nearest neighbors; "
        "`finetune`: trains the encoder, with gated attention pooling and a head."
    )
    model: PathText = setting(
        "`model.pt` of a run of train.json or dirl.json; by default the one of the bundle. Tiles are made with the "
        "settings that it was trained with."
    )
    n_folds: Annotated[Whole, Ge(2)] = setting("Number of folds, if the manifest has no column `fold`.")
    val_fraction: InnerShare = setting("Share of the training patients that choose the epoch or the hyperparameter.")
    max_epochs: Count = setting("Maximum number of epochs of a fine-tuning.")
    choose_by: Annotated[str, Choices("hmgdm_monai.tasks.tiles.finetuning.SCORES")] = setting(
        "Score of the inner validation that chooses the epoch."
    )
    batch_size: Count = setting("Number of tiles in a step.")
    learning_rate: Positive = setting("Learning rate of pooling and head.")
    encoder_learning_rate: Positive = setting("Learning rate of the encoder.")


class TileEvaluation(Run, Strictness, TileLimit):
    """Settings of evaluate.json."""

    manifest: PathText = setting(
        "CSV with the columns `image`, `patient` and `label`. Patients of the classifier's training are left out: of "
        "the demo cohort, those of its test fold remain."
    )
    classifier: PathText = setting("A `classifier_fold*.pt` of a run of classify.json.")
    batch_tiles: Count = setting("Number of tiles that the network takes at once.")
