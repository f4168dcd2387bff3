"""A pretrained model is one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint, write_checkpoint
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.encoder_file import FORMAT, load_encoder, save_encoder


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


def test_the_file_names_its_format_and_both_parts(tiny: Any, tmp_path: Path) -> None:
    save_encoder(tmp_path / "model.pt", tiny.encoder())
    saved = read_checkpoint(tmp_path / "model.pt")
    assert saved["format"] == FORMAT == 3 and saved["kind"] == "hmgdm"
    assert saved["settings"].keys() == {"entities", "hmgdm"}
    assert saved["settings"]["entities"]["kind"] == "backbone"
    assert saved["settings"]["entities"]["settings"]["backbones"][0]["name"] == "efficientnet_lite0"


@pytest.mark.parametrize("content", [{"format": 99}, {"weights": torch.zeros(2)}, {}])
def test_other_files_are_refused(tmp_path: Path, content: dict) -> None:
    write_checkpoint(tmp_path / "model.pt", content)
    with pytest.raises(InputError, match="is no pretrained model of format 3"):
        load_encoder(tmp_path / "model.pt")


@pytest.mark.parametrize("old", [1, 2])
def test_models_of_before_are_refused_in_one_line(tmp_path: Path, old: int) -> None:
    write_checkpoint(tmp_path / "model.pt", {"format": old, "kind": "hmgdm", "settings": {}, "weights": {}})
    with pytest.raises(InputError, match=r"model\.pt: is a model of version 0\.1.*pretrain again") as caught:
        load_encoder(tmp_path / "model.pt")
    assert "\n" not in str(caught.value)
