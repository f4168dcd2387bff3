from __future__ import annotations

import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifier_file import build_classifier, load_classifier, save_classifier
from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder

AUTOENCODER = {"window_px": 16, "widths": [8, 8], "texture_dim": 0, "shortcut": False}
HMGDM = {"latent_dim": 5, "hidden_dim": 8, "num_layers": 2, "heads": 2}
HEADS = {
    "linear": {"num_features": 8, "num_classes": 2},
    "knn": {"num_features": 8, "num_classes": 2, "num_examples": 7, "neighbours": 3},
    "finetune": {"num_classes": 2, "hidden": 6, "dropout": 0.1},
}


@pytest.fixture
def encoder():
    settings = {"autoencoder": AUTOENCODER, "hmgdm": HMGDM}
    return GraphTileEncoder.build(settings, {"data": {"tile_size_px": 128}}).eval()


@pytest.mark.parametrize("mode", HEADS)
def test_what_was_saved_classifies_the_same_and_knows_its_names(mode, encoder, random_graph, tmp_path):
    network = build_classifier(encoder, mode, HEADS[mode]).eval()
    if mode == "knn":
        network.head.set(torch.randn(7, 8), torch.arange(7) % 2, torch.ones(2))
    path, names = tmp_path / "classifier_fold3.pt", ("Gleason 3", "benign – stroma")
    save_classifier(path, network, mode, HEADS[mode], names, ["p1", "p2"], fold=3)
    loaded = load_classifier(path)
    assert loaded.classes == names and loaded.mode == mode and loaded.fold == 3
    assert loaded.patients == ("p1", "p2")
    assert loaded.run_settings == {"data": {"tile_size_px": 128}}
    graph = random_graph(6, 9)
    assert torch.equal(loaded.network(graph), network(graph))
    kept, before = loaded.network.encoder.state_dict(), encoder.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    assert {name for name in before if name not in kept} == {n for n in before if n.startswith("hmgdm.denoiser.")}


def test_other_files_and_modes_are_refused_in_one_line(encoder, tmp_path):
    torch.save({"format": 1}, tmp_path / "model.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    torch.save({"classifier_format": 2, "mode": "linear"}, tmp_path / "part.pt")
    for name, told in (("model", "is no classifier"), ("text", "damaged"), ("part", "damaged"), ("none", "no such")):
        with pytest.raises(InputError, match=told) as caught:
            load_classifier(tmp_path / f"{name}.pt")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no mode 'forest'; choose one of linear, knn, finetune"):
        build_classifier(encoder, "forest", {})
