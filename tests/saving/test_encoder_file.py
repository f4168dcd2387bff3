"""A pretrained model is one file: the state of the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import recipe_settings

from hmgdm_monai.data.files.checkpoint_file import write_checkpoint
from hmgdm_monai.data.files.json_tensor import tensor_to_json
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.encoder_file import load_encoder, save_encoder


@pytest.mark.parametrize("kind", ["backbone", "window_autoencoder"])
def test_both_networks_come_back(kind: str, tiny: Any, tmp_path: Path) -> None:
    encoder = tiny.encoder(entities=tiny.entities(kind), readout=["mean", "latent_std"])
    encoder.hmgdm.standardizer.fit(3 * torch.randn(50, encoder.entities.latent_dim) + 1)
    save_encoder(tmp_path / "model.pt", encoder)
    model = load_encoder(tmp_path / "model.pt")
    assert model.run_settings == encoder.run_settings and model.settings == encoder.settings
    assert not model.entities.training and not model.hmgdm.training
    graph = encoder.to_sample(torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8))
    with torch.no_grad():
        latents = model.prepare(graph)
        for name in ("vertex_latents", "edge_latents"):
            assert torch.equal(latents[name], encoder.prepare(graph)[name])
        assert torch.equal(model.hmgdm.embed(latents), encoder.hmgdm.embed(latents))


def test_the_description_names_format_and_both_parts(tiny_model: Path) -> None:
    told = tensor_to_json(torch.load(tiny_model, weights_only=True)["_extra_state"])
    assert told["content"] == "encoder" and told["format"] == 4 and told["kind"] == "hmgdm"
    assert told["settings"].keys() == {"entities", "hmgdm"}
    assert told["settings"]["entities"]["kind"] == "backbone"
    assert told["settings"]["entities"]["settings"]["backbones"][0]["name"] == "efficientnet_lite0"


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
def test_a_network_takes_over_how_tiles_are_made_with_the_weights(kind: str, tiny: Any, tmp_path: Path) -> None:
    save_encoder(tmp_path / "model.pt", tiny.encoder(kind))
    other = tiny.encoder(kind, {"recipe": recipe_settings(n_segments=5, stain="macenko")})
    before = other.to_sample
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert other.digest() != tiny.encoder(kind).digest()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert other.run_settings == tiny.encoder(kind).run_settings and other.digest() == tiny.encoder(kind).digest()
    assert other.to_sample is not before


def test_weights_of_an_encoder_with_other_settings_are_refused(tiny: Any) -> None:
    other = tiny.encoder(readout=["mean", "std"])  # the weights have the same shapes
    with pytest.raises(InputError, match="of an encoder with other settings; build the network from"):
        other.load_state_dict(tiny.encoder(readout=["mean", "latent_std"]).state_dict())


@pytest.mark.parametrize("content", [{"format": "99"}, {"weights": torch.zeros(2)}, {}])
def test_other_files_are_refused(tmp_path: Path, content: dict) -> None:
    write_checkpoint(tmp_path / "model.pt", content)
    with pytest.raises(InputError, match=r"model\.pt: is no encoder, since it has no description; give a model\.pt"):
        load_encoder(tmp_path / "model.pt")


@pytest.mark.parametrize("old", [1, 2, 3])
def test_models_of_before_are_refused_in_one_line(tmp_path: Path, old: int) -> None:
    write_checkpoint(tmp_path / "model.pt", {"format": old, "kind": "hmgdm", "settings": {}, "weights": {}})
    with pytest.raises(InputError, match=rf"model\.pt: is a model file of format {old}.*; train again") as caught:
        load_encoder(tmp_path / "model.pt")
    assert "\n" not in str(caught.value)
