"""A trained classifier in one file: networks, class names, and the settings that its tiles are made with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.embedding_heads import LinearHead, NearestNeighborHead
from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier, TileClassifier
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.bundle_files import bundle_file
from hmgdm_monai.saving.declared_size import check_declared_size
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

FORMAT = 2
MODES = ("linear", "knn", "finetune")


class Classifier(NamedTuple):
    """A classifier ready for use, in evaluation mode on the CPU.

    Attributes:
        network: images, or samples that its encoder has prepared, to logits (B, K).
        classes: K names, in the order of the logits.
        mode: "linear", "knn" or "finetune".
        run_settings: of the pretrained model; tile size, mpp and superpixels among them.
        patients: those whose tiles it was fitted to or chosen by; it must not be judged on them.
        fold: number of the fold that it was tested on.

    Example:
        >>> from hmgdm_monai import Classifier, build_classifier, load_encoder
        >>> network = build_classifier(load_encoder(), "finetune", {"num_classes": 2})
        >>> untrained = Classifier(network, ("benign", "tumor"), "finetune", network.encoder.run_settings, (), 0)
        >>> len(untrained.digest())
        64
    """

    network: TileClassifier
    classes: tuple[str, ...]
    mode: str
    run_settings: dict[str, Any]
    patients: tuple[str, ...]
    fold: int

    def digest(self) -> str:
        """SHA-256 of all that its scores depend on but the making of tiles: weights, mode and classes."""
        sha = hashlib.sha256(repr((self.mode, self.classes, self.network.encoder.digest())).encode())
        for name, value in sorted(self.network.state_dict().items()):
            sha.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()


def build_classifier(encoder: TileEncoder, mode: str, settings: Mapping[str, Any]) -> TileClassifier:
    """An untrained classifier of a mode.

    Args:
        encoder: to copy.
        mode: of :data:`MODES`.
        settings: arguments of the head, those of :class:`GatedTileClassifier` for "finetune".

    Raises:
        InputError: an unknown mode.

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
    """Raise an InputError for a mode that there is not."""
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
    """Write a classifier, whole or not at all.

    Args:
        path: of the file.
        network: of :func:`build_classifier`, trained.
        mode: that it was built for.
        settings: that it was built from.
        classes: K names, in the order of the logits.
        patients: those whose tiles took part in training or in choosing.
        fold: its number.

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
    write_checkpoint(
        path,
        {
            "classifier_format": FORMAT,
            "mode": mode,
            "settings": dict(settings),
            "weights": dict(network.state_dict()),
            "classes": [str(name) for name in classes],
            "patients": [str(name) for name in patients],
            "fold": int(fold),
            "encoder": {"kind": network.encoder.kind, "settings": network.encoder.settings},
            "run_settings": network.encoder.run_settings,
        },
    )


def load_classifier(path: Path | str | None = None) -> Classifier:
    """Build a classifier from a file of :func:`save_classifier`.

    Args:
        path: of the file, such as a ``classifier_fold*.pt`` of a run of ``classify.json``; None is the classifier that
            the bundle ships.

    Raises:
        InputError: no such file, a damaged one, or one of another kind or format.

    Example:
        >>> from hmgdm_monai import load_classifier
        >>> classifier = load_classifier()
        >>> classifier.network.training
        False
    """
    path = bundle_file("models/classifier.pt") if path is None else path
    saved = read_checkpoint(path)
    found = saved.get("classifier_format") if isinstance(saved, dict) else None
    if found != FORMAT:
        raise InputError(
            f"{path}: is no classifier of format {FORMAT} (found {found}); give a classifier_fold*.pt of classify.json"
        )
    try:
        if "autoencoder" in saved["encoder"]["settings"]:
            raise InputError(
                f"{path}: is a classifier of version 0.1, whose entities are no longer there; run classify.json again, "
                "or take the one that the bundle ships"
            )
        arguments = saved["encoder"]["kind"], saved["encoder"]["settings"], saved["run_settings"]

        def build() -> TileClassifier:
            return build_classifier(build_tile_encoder(*arguments), saved["mode"], saved["settings"])

        check_declared_size(build, saved["weights"])
        network = build()
        network.load_state_dict(saved["weights"])
        about = (tuple(saved["classes"]), saved["mode"], saved["run_settings"], tuple(saved["patients"]), saved["fold"])
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: is damaged ({reason}); run classify.json again to make it anew") from error
    return Classifier(network.eval(), *about)
