"""A trained classifier in one file: state dict, class names, and the settings that make its tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hmgdm_monai.data.files.json_tensor import tensor_to_json
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.embedding_heads import LinearHead, NearestNeighborHead
from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier, TileClassifier
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.bundle_files import bundle_file
from hmgdm_monai.saving.model_file import DESCRIPTION, build_model, read_model, refused, write_model
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

CONTENT = "classifier"
ADVICE = "give a classifier_fold*.pt of classify.json"
MODES = ("linear", "knn", "finetune")


class Classifier(NamedTuple):
    """A classifier ready for use, on the CPU, in evaluation mode.

    Attributes:
        network: maps images, or samples that its encoder has prepared, to logits (B, K).
        classes: K class names, in the order of the logits.
        mode: "linear", "knn" or "finetune".
        settings: settings of the head; see :func:`build_classifier`.
        run_settings: settings of the pretraining run, among them tile size, mpp and superpixels.
        patients: patients whose tiles were used for training or for choosing settings. Do not evaluate on them.
        fold: number of the fold that it was tested on.

    Example:
        >>> from hmgdm_monai import Classifier, build_classifier, load_encoder
        >>> encoder, settings = load_encoder(), {"num_classes": 2}
        >>> network = build_classifier(encoder, "finetune", settings)
        >>> untrained = Classifier(network, ("no", "yes"), "finetune", settings, encoder.run_settings, (), 0)
        >>> len(untrained.digest())
        64
    """

    network: TileClassifier
    classes: tuple[str, ...]
    mode: str
    settings: dict[str, Any]
    run_settings: dict[str, Any]
    patients: tuple[str, ...]
    fold: int

    def digest(self) -> str:
        """Return the SHA-256 of everything that determines the scores of a tile: weights, mode and classes.

        The settings that make tiles are not part of it.
        """
        sha = hashlib.sha256(repr((self.mode, self.classes, self.network.encoder.digest())).encode())
        for name, value in sorted(self.network.state_dict().items()):
            if name.split(".")[-1] != DESCRIPTION:
                sha.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()


def build_classifier(encoder: TileEncoder, mode: str, settings: Mapping[str, Any]) -> TileClassifier:
    """Build an untrained classifier.

    Args:
        encoder: tile encoder; it is copied.
        mode: one of :data:`MODES`.
        settings: arguments of the head; for "finetune", those of :class:`GatedTileClassifier`.

    Raises:
        InputError: the mode is unknown.

    Example:
        >>> import torch
        >>> from hmgdm_monai import build_classifier, load_encoder
        >>> network = build_classifier(load_encoder(), "finetune", {"num_classes": 3})
        >>> with torch.inference_mode():
        ...     logits = network(torch.randint(0, 256, (1, 3, 256, 256)))
        >>> tuple(logits.shape)
        (1, 3)
    """
    check_mode(mode)
    if mode == "finetune":
        return GatedTileClassifier(encoder, **settings)
    head = LinearHead if mode == "linear" else NearestNeighborHead
    return TileClassifier(encoder, head(**settings))


def check_mode(mode: str) -> None:
    """Raise an InputError if the mode is unknown."""
    if mode not in MODES:
        raise InputError(f"classification has no mode {mode!r}; choose one of {', '.join(MODES)}")


def save_classifier(
    path: Path | str,
    network: TileClassifier,
    mode: str,
    settings: Mapping[str, Any],
    classes: Sequence[str],
    patients: Sequence[str],
    fold: int,
) -> None:
    """Write a classifier to a file, completely or not at all.

    Args:
        path: path of the file.
        network: trained network of :func:`build_classifier`.
        mode: mode that the network was built with.
        settings: settings that the network was built with.
        classes: K class names, in the order of the logits.
        patients: patients whose tiles were used for training or for choosing settings.
        fold: number of the fold.

    Raises:
        InputError: the disk is full.

    Example:
        >>> from hmgdm_monai import build_classifier, load_classifier, load_encoder, save_classifier
        >>> settings = {"num_classes": 2}
        >>> network = build_classifier(load_encoder(), "finetune", settings)
        >>> save_classifier("classifier.pt", network, "finetune", settings, ["benign", "tumor"], ["P1"], fold=0)
        >>> load_classifier("classifier.pt").classes
        ('benign', 'tumor')
    """
    about = {
        "mode": mode,
        "settings": dict(settings),
        "classes": [str(name) for name in classes],
        "patients": [str(name) for name in patients],
        "fold": int(fold),
    }
    write_model(path, CONTENT, network.state_dict(), about)


def load_classifier(path: Path | str | None = None) -> Classifier:
    """Load a classifier from a file of :func:`save_classifier`.

    Args:
        path: path of the file, e.g. ``classifier_fold*.pt`` of a run of ``classify.json``; None loads the classifier of
            the bundle.

    Raises:
        InputError: the file is missing, damaged, or of another kind or format.

    Example:
        >>> from hmgdm_monai import load_classifier
        >>> classifier = load_classifier()
        >>> classifier.network.training
        False
    """
    path = bundle_file("models/classifier.pt") if path is None else path
    about, state = read_model(path, CONTENT, ADVICE)
    with refused(path, ADVICE):
        description = tensor_to_json(state[f"encoder.{DESCRIPTION}"])
        arguments = description["kind"], description["settings"], description["run_settings"]
        mode, settings, classes = about["mode"], about["settings"], tuple(about["classes"])
        patients, fold = tuple(about["patients"]), about["fold"]
        if len(classes) != settings["num_classes"]:
            raise InputError(f"{path}: names {len(classes)} classes for {settings['num_classes']} outputs; {ADVICE}")

    def build() -> TileClassifier:
        return build_classifier(build_tile_encoder(*arguments), mode, settings)

    network = build_model(path, build, state, ADVICE)
    return Classifier(network, classes, mode, settings, network.encoder.run_settings, patients, fold)
