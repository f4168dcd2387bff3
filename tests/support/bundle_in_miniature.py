"""A bundle around models that nobody trained, in place of the one that ships: quick, and the same whatever ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parents[2] / "bundle/configs"


def bundle_in_miniature(folder: Path, tiny: Any) -> Path:
    """A folder with the real configs and with small models of tiles of 256 px at 1 um a px.

    To be put in place of ``hmgdm_monai.saving.bundle_files._BESIDE``.
    """
    from recipes import NOISING, recipe_settings

    from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier
    from hmgdm_monai.saving.encoder_file import save_encoder

    (folder / "bundle").mkdir()
    (folder / "bundle/configs").symlink_to(CONFIGS)
    encoder = tiny.encoder(run={"recipe": recipe_settings(256, 1.0), "noising": NOISING})
    save_encoder(folder / "bundle/models/model.pt", encoder)
    settings = {"num_classes": 2}
    network = build_classifier(encoder, "finetune", settings)
    save_classifier(folder / "bundle/models/classifier.pt", network, "finetune", settings, ["a", "b"], [], 0)
    return folder
