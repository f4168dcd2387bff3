"""An entity encoder comes back from its file, and other files are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.entities.build import build_entities
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.entities_file import load_entities, save_entities
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.superpixels import Superpixels

KINDS = {
    "backbone": {"seam_px": 3, "edge_latents": False},
    "window_autoencoder": {"window_px": 6},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_comes_back_frozen(kind: str, tiny: Any, stained: Callable, tmp_path: Path) -> None:
    entities = tiny.entities(kind, **KINDS[kind])
    save_entities(tmp_path / "entities.pt", entities.requires_grad_(True).train())
    loaded = load_entities(tmp_path / "entities.pt")
    assert type(loaded) is type(entities) and loaded.settings == entities.settings
    assert loaded.digest() == entities.digest() and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    tile = np.ascontiguousarray(stained(64, 64).transpose(2, 0, 1))
    graph = build_entity_graph(tile, Superpixels(12)(tile))
    with torch.no_grad():
        for found, expected in zip(loaded(graph), entities.eval()(graph), strict=True):
            assert (found is None and expected is None) or torch.equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_alone_build_it_without_weights(kind: str, tiny: Any) -> None:
    entities = tiny.entities(kind, **KINDS[kind])
    built = build_entities(entities.kind, entities.settings)
    assert built.settings == entities.settings and built.digest() != entities.digest()
    built.load_state_dict(entities.state_dict())
    assert built.digest() == entities.digest()


def test_other_kinds_and_files_are_refused_in_one_line(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no entities of kind 'texture'"):
        build_entities("texture", {})
    save_entities(tmp_path / "entities.pt", tiny.entities("window_autoencoder"))
    saved = read_checkpoint(tmp_path / "entities.pt")
    write_checkpoint(tmp_path / "other.pt", {**saved, "settings": {**saved["settings"], "widths": [16]}})
    write_checkpoint(tmp_path / "newer.pt", {**saved, "format": 99})
    write_checkpoint(tmp_path / "model.pt", {"format": 3, "kind": "hmgdm", "settings": {}, "weights": {}})
    write_checkpoint(tmp_path / "part.pt", {"format": 1, "weights": saved["weights"]})
    (tmp_path / "text.pt").write_text("no checkpoint")
    cases = {
        "other": "damaged",
        "part": "damaged",
        "newer": "no entity encoder",
        "model": "no entity encoder",
        "text": "damaged",
    }
    for name, told in {**cases, "none": "no such"}.items():
        with pytest.raises(InputError, match=told) as caught:
            load_entities(tmp_path / f"{name}.pt")
        assert f"{name}.pt" in str(caught.value) and "\n" not in str(caught.value)
