"""Settings of survival.json, patient_classes.json, regress.json and evaluate_patients.json."""

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


class Patients(Run, Processes, Strictness):
    """Settings of survival.json and of its override files."""

    manifest: PathText = setting(
        "CSV with the columns `patient`, `image` or `features` (HDF5 of any encoder), those of the target, and "
        "optionally `fold`, a site and clinical columns. The default, a synthetic demo cohort, is drawn if missing."
    )
    pretrained: PathText = setting(
        "Encoder of the slides without features: `model.pt` of a run of train.json or dirl.json; by default the one of "
        "the bundle."
    )
    ckpt_dir: PathText = setting("Folder of the models of the folds.")
    n_folds: Annotated[Whole, Ge(2)] = setting("Number of folds, if those of the manifest are not used.")
    use_manifest_folds: Flag = setting("Use the folds of the manifest's column `fold`, if it has one.")
    time_column: OrNone[Text] = setting(
        "Column of the manifest with the time; in an evaluation, `null` is the name that the training had."
    )
    event_column: OrNone[Text] = setting(
        "Column of the manifest with the event (1 = died, 0 = censored); in an evaluation, `null` is the name that the "
        "training had."
    )
    target_column: OrNone[Text | list[Text]] = setting(
        "Column of the manifest with the class or number of the patient, or a list of columns: each is predicted by a "
        "model of its own, in the same folds. In an evaluation, `null` is the name that the training had."
    )
    classes: OrNone[Listed[int | float | str]] = setting(
        "The classes; `null` takes all of the column. Grades that are no numbers need them, from lowest to highest."
    )
    ordered: Flag = setting("`true` for grades: loss and kappa then count how far a wrong grade is from the right one.")
    balanced: Flag = setting("All classes have equal weight in the cross-entropy.")
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
    baselines: Listed[Annotated[str, Choices("hmgdm_monai.tasks.patients.targets.build.baseline_names")]] = setting(
        "Linear models to compare with, of mean features (`cox_pca`), of `clinical_columns` (`cox_clinical`), of both "
        "(`cox_clinical_pca`), and of the model's output beside `clinical_columns` (`cox_clinical_model`; needs "
        "`epoch_selection` `validation`). Any of them; they begin with `logistic` for classes and grades, and with "
        "`ridge` for numbers."
    )
    clinical_columns: Listed[Text] = setting("Columns of the manifest for clinical baselines.")
    num_bootstrap: NaturalNumber = setting("Number of bootstrap samples of the patients, for the intervals.")
    model: PathText | list[PathText] = setting(
        "A `fold_*.pt` of a run of survival.json, patient_classes.json or regress.json, or the folder of all folds: an "
        "ensemble. Patients that a model was trained on are left out: of the demo cohort, those of its test fold "
        "remain."
    )
