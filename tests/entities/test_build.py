"""An entity encoder comes back from its file, and other files are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.data.files.json_tensor import tensor_to_json
from hmgdm_monai.entities.build import build_entities
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.entities_file import load_entities, save_entities
from hmgdm_monai.saving.model_file import DESCRIPTION, write_model
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
    state = read_checkpoint(tmp_path / "entities.pt")
    told = {name: value for name, value in tensor_to_json(state[DESCRIPTION]).items() if name != "sha256"}
    write_model(
        tmp_path / "other.pt", "entity encoder", state, told | {"settings": told["settings"] | {"widths": [16]}}
    )
    write_model(tmp_path / "newer.pt", "entity encoder", state, told | {"format": 99})
    write_model(tmp_path / "model.pt", "encoder", state, told | {"content": "encoder"})
    write_checkpoint(tmp_path / "part.pt", {name: value for name, value in state.items() if name != DESCRIPTION})
    (tmp_path / "text.pt").write_text("no checkpoint")
    cases = {
        "other": "damaged|lacks the weights|no place for",
        "part": "is no entity encoder",
        "newer": "of format 99, this version reads format 4",
        "model": "another kind: encoder, not entity encoder",
        "text": "damaged",
    }
    for name, told in {**cases, "none": "no such"}.items():
        with pytest.raises(InputError, match=told) as caught:
            load_entities(tmp_path / f"{name}.pt")
        assert f"{name}.pt" in str(caught.value) and "\n" not in str(caught.value)
