"""A trained model of patients in one file: aggregator, loss, what it predicts, and what its training side gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.build import build_patient_loss
from hmgdm_monai.losses.patient_loss import PatientLoss
from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator
from hmgdm_monai.networks.aggregators.build import build_aggregator
from hmgdm_monai.saving.model_file import build_model, read_model, refused, write_model

CONTENT = "patient model"
ADVICE = "give a fold_*.pt of survival.json, patient_classes.json or regress.json"


@dataclass
class PatientModel:
    """An aggregator and its loss, trained on one fold.

    Attributes:
        network: aggregator, in evaluation mode.
        loss: turns outputs into predictions: a risk (higher = earlier death), class probabilities, or a number.
        settings: name and settings of aggregator and loss.
        target: kind, columns and classes of what is predicted.
        fitted: what predictions need of the training side, for example the median risk that separates risk groups.
        about: further values that the run keeps: fold, patients, graph settings, history.
    """

    network: BagAggregator
    loss: PatientLoss
    settings: dict[str, Any]
    target: dict[str, Any]
    fitted: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def check_channels(self, channels: int) -> None:
        """Raise if the model was trained on features of another size.

        Args:
            channels: number of channels of the features, or size of an embedding.

        Raises:
            InputError: as above.
        """
        needed = int(self.network.standardizer.mean.numel())
        if channels != needed:
            raise InputError(
                f"the model of patients needs features of {needed} channels, but the embeddings have {channels}; give "
                "a model that was trained on this encoder"
            )


def save_patient_model(path: Path | str, model: PatientModel) -> None:
    """Write a model to a file, completely or not at all."""
    description = {
        "settings": model.settings,
        "target": model.target,
        "fitted": model.fitted,
        "about": model.about,
    }
    write_model(path, CONTENT, model.network.state_dict(), description)


def load_patient_model(path: Path | str) -> PatientModel:
    """Load a model from a file of :func:`save_patient_model`, on the CPU, in evaluation mode.

    Args:
        path: path of the file.

    Raises:
        InputError: the file is missing, damaged, or of another kind or format.
    """
    description, state = read_model(path, CONTENT, ADVICE)
    with refused(path, ADVICE):
        settings, target = dict(description["settings"]), dict(description["target"])
        loss, chosen = build_patient_loss(settings["loss"]), settings["aggregator"]
        arguments = chosen["name"], chosen["in_channels"], loss.num_outputs
        fitted, about = dict(description["fitted"]), dict(description["about"])
    network = build_model(path, lambda: build_aggregator(*arguments, **chosen["settings"]), state, ADVICE)
    return PatientModel(network, loss, settings, target, fitted, about)


def load_patient_models(paths: Path | str | Sequence[Path | str]) -> list[PatientModel]:
    """Load the models of several folds, to use them as an ensemble.

    Args:
        paths: a model file, several, or a folder with ``fold_*.pt``.

    Raises:
        InputError: the folder holds no model, a file cannot be used, or the models differ in what they predict.
    """
    files = _files(paths)
    models = [load_patient_model(file) for file in files]
    for file, model in zip(files[1:], models[1:], strict=True):
        for name in ("aggregator", "loss"):
            if model.settings[name]["name"] != models[0].settings[name]["name"]:
                raise InputError(
                    f"{file}: has {name} {model.settings[name]['name']}, but {files[0]} has "
                    f"{models[0].settings[name]['name']}; give the folds of one run"
                )
        if model.target != models[0].target or model.about.get("graph") != models[0].about.get("graph"):
            raise InputError(f"{file}: predicts something else than {files[0]}; give the folds of one run")
    return models


def _files(paths: Path | str | Sequence[Path | str]) -> list[Path]:
    if not isinstance(paths, str | Path):
        if not paths:
            raise InputError(f"no model is given; {ADVICE}")
        return [Path(path) for path in paths]
    path = Path(paths)
    if not path.is_dir():
        return [path]
    found = sorted((one for one in path.glob("fold_*.pt") if one.stem.removeprefix("fold_").isdigit()), key=_number)
    if not found:
        raise InputError(f"{path}: holds no fold_*.pt; give the folder `folds` of a run, or the files")
    return found


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("fold_"))
