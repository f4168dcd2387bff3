"""A pretrained model is one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hmgdm_monai.data.checkpoint_file import write_checkpoint
from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.build import build_hmgdm
from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder
from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.pretrained import load_pretrained, save_pretrained

AUTOENCODER = {"window_px": 16, "widths": [8, 8], "texture_dim": 0, "shortcut": False}


def test_both_networks_come_back(tmp_path: Path) -> None:
    autoencoder = EntityAutoencoder(**AUTOENCODER).eval()
    settings = {"latent_dim": autoencoder.latent_dim, "hidden_dim": 8, "num_layers": 1, "heads": 2, "readout": ["mean"]}
    hmgdm = build_hmgdm(**settings).eval()
    both = {"autoencoder": AUTOENCODER, "hmgdm": settings}
    save_pretrained(tmp_path / "model.pt", GraphTileEncoder(autoencoder, hmgdm, both, {"data": {"tile_mpp": 1.0}}))
    model = load_pretrained(tmp_path / "model.pt")
    assert model.run_settings == {"data": {"tile_mpp": 1.0}}
    assert not model.autoencoder.training and not model.hmgdm.training
    windows = torch.rand(5, 3, 16, 16)
    latents = model.autoencoder.encode(windows)
    assert torch.equal(latents, autoencoder.encode(windows))
    graph = EntityGraph(
        pos=torch.rand(3, 2),
        edge_index=torch.tensor([[0, 1], [1, 2]]),
        vertex_latents=latents[:3],
        edge_latents=latents[3:],
    )
    assert torch.equal(model.hmgdm.embed(graph), hmgdm.embed(graph))


@pytest.mark.parametrize("content", [{"format": 99}, {"weights": torch.zeros(2)}, {}])
def test_other_files_are_refused(tmp_path: Path, content: dict) -> None:
    write_checkpoint(tmp_path / "model.pt", content)
    with pytest.raises(InputError, match="is no pretrained model of format 2"):
        load_pretrained(tmp_path / "model.pt")
