"""Models in miniature for all tests of faults."""

from __future__ import annotations

from typing import Any

import pytest
from bad_inputs import Models


@pytest.fixture(scope="session")
def models(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Models:
    from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier
    from hmgdm_monai.saving.encoder_file import save_encoder

    folder, encoder, head = tmp_path_factory.mktemp("models"), tiny.encoder(), {"num_classes": 2}
    save_encoder(folder / "model.pt", encoder)
    save_classifier(folder / "c.pt", build_classifier(encoder, "finetune", head), "finetune", head, ["a", "b"], [], 0)
    return Models(folder / "model.pt", folder / "c.pt")
