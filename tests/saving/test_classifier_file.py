from __future__ import annotations

import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.classifier_file import build_classifier, load_classifier, save_classifier
from hmgdm_monai.saving.encoder_file import save_encoder

HEADS = {
    "linear": {"num_features": 8, "num_classes": 2},
    "knn": {"num_features": 8, "num_classes": 2, "num_examples": 7, "neighbors": 3},
    "finetune": {"num_classes": 2, "hidden": 6, "dropout": 0.1},
}


@pytest.fixture
def encoder(tiny):
    return tiny.encoder(hidden_dim=8, readout=["mean"])


@pytest.mark.parametrize("mode", HEADS)
def test_what_was_saved_classifies_the_same_and_knows_its_names(mode, encoder, tmp_path):
    network = build_classifier(encoder, mode, HEADS[mode]).eval()
    if mode == "knn":
        network.head.set(torch.randn(7, 8), torch.arange(7) % 2, torch.ones(2))
    path, names = tmp_path / "classifier_fold3.pt", ("Gleason 3", "benign – stroma")
    save_classifier(path, network, mode, HEADS[mode], names, ["p1", "p2"], fold=3)
    loaded = load_classifier(path)
    assert loaded.classes == names and loaded.mode == mode and loaded.fold == 3
    assert loaded.patients == ("p1", "p2")
    assert loaded.run_settings == encoder.run_settings
    tiles = torch.randint(0, 256, (2, 3, 64, 64))
    with torch.no_grad():
        assert torch.equal(loaded.network(tiles), network(tiles))
    kept, before = loaded.network.encoder.state_dict(), encoder.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in kept.items())
    assert {name for name in before if name not in kept} == {n for n in before if n.startswith("hmgdm.denoiser.")}


def test_the_file_is_the_state_of_the_network(encoder, tmp_path):
    network = build_classifier(encoder, "finetune", HEADS["finetune"])
    save_classifier(tmp_path / "classifier.pt", network, "finetune", HEADS["finetune"], ["a", "b"], ["p1"], 0)
    other = build_classifier(encoder, "finetune", HEADS["finetune"])
    other.load_state_dict(torch.load(tmp_path / "classifier.pt", weights_only=True))
    assert all(torch.equal(*pair) for pair in zip(other.parameters(), network.parameters(), strict=True))
    assert other.about["classes"] == ["a", "b"] and other.about["mode"] == "finetune"


def test_other_files_and_modes_are_refused_in_one_line(encoder, tmp_path):
    save_encoder(tmp_path / "model.pt", encoder)
    (tmp_path / "text.pt").write_text("no checkpoint")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "part.pt")
    torch.save({"classifier_format": 2, "mode": "linear", "weights": {}}, tmp_path / "old.pt")
    cases = {"model": "encoder, not classifier", "text": "damaged", "part": "no description", "none": "no such"}
    for name, told in {**cases, "old": "of format 2, this version reads format 4; train again"}.items():
        with pytest.raises(InputError, match=told) as caught:
            load_classifier(tmp_path / f"{name}.pt")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no mode 'forest'; choose one of linear, knn, finetune"):
        build_classifier(encoder, "forest", {})


@pytest.mark.parametrize("classes", [["a"], ["a", "b", "c"]])
def test_a_name_for_each_output(classes, encoder, tmp_path):
    network = build_classifier(encoder, "linear", HEADS["linear"])
    save_classifier(tmp_path / "classifier.pt", network, "linear", HEADS["linear"], classes, [], 0)
    with pytest.raises(InputError, match=rf"classifier\.pt: names {len(classes)} classes for 2 outputs; give a"):
        load_classifier(tmp_path / "classifier.pt")
