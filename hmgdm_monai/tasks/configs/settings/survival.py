"""Settings of survival.json and evaluate_survival.json."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from hmgdm_monai.tasks.configs.settings.run import Processes, Run, Strictness
from hmgdm_monai.tasks.configs.settings.types import (
    Choices,
    Count,
    Flag,
    Listed,
    NaturalNumber,
    OrNone,
    PathText,
    Positive,
    Text,
    Whole,
    setting,
)


class Survival(Run, Processes, Strictness):
    """Settings of survival.json."""

    manifest: PathText = setting(
        "CSV with the columns `image`, `patient`, `time` and `event` (1 = died, 0 = censored), optionally `features` "
        "(HDF5 of any encoder), `fold`, a site and clinical columns. The default, a synthetic demo cohort, is drawn if "
        "it is missing."
    )
    pretrained: PathText = setting(
        "Encoder of the slides without features: `model.pt` of a run of train.json or dirl.json; by default the one of "
        "the bundle."
    )
    ckpt_dir: PathText = setting("Folder of the models of the folds.")
    n_folds: Annotated[Whole, Ge(2)] = setting("Number of folds, if those of the manifest are not used.")
    use_manifest_folds: Flag = setting("Use the folds of the manifest's column `fold`, if it has one.")
    site_column: OrNone[Text] = setting(
        "Column of the manifest whose values (hospitals) are never on both sides of a fold; `null` for none."
    )
    aggregator: Annotated[str, Choices("hmgdm_monai.networks.aggregators.build.AGGREGATORS")] = setting(
        "Network that aggregates the tiles of a patient."
    )
    max_epochs: Count = setting("Number of epochs of each fold.")
    epoch_selection: Annotated[str, Choices("hmgdm_monai.tasks.patients.fold.EPOCH_SELECTIONS")] = setting(
        "`fixed`: train for `max_epochs`. `validation`: keep the epoch with the lowest loss on inner "
        "validation patients."
    )
    batch_size: Annotated[Whole, Ge(2)] = setting("Number of patients in a step.")
    learning_rate: Positive = setting("Learning rate.")
    baselines: Listed[Annotated[str, Choices("hmgdm_monai.tasks.patients.cross_validation.BASELINES")]] = setting(
        "Cox models to compare with: `cox_pca`, on principal components of mean features, and `cox_clinical`, on "
        "`clinical_columns`. Any of them."
    )
    clinical_columns: Listed[Text] = setting("Columns of the manifest for `cox_clinical`.")
    num_bootstrap: NaturalNumber = setting("Number of bootstrap samples of the patients, for the intervals.")
    model: PathText = setting(
        "With evaluate_survival.json: a `fold_*.pt` of a run of survival.json. Patients that it was trained on are "
        "left out: of the demo cohort, those of its test fold remain."
    )
