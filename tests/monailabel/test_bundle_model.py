from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
import torch
from lib.bundle_model import BundleModel

from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.classifier_file import load_classifier, save_classifier

CLASSES = ("dark", "light & pale")


@pytest.fixture
def model(write_bundle, tmp_path) -> BundleModel:
    return BundleModel(write_bundle(tmp_path / "tiny"), tmp_path / "trained")


@pytest.fixture
def tiles(stained) -> np.ndarray:
    dark = np.stack([stained(64 + 8 * i, 64)[:, -64:] for i in range(3)]).transpose(0, 3, 1, 2)
    return np.concatenate((dark, 255 - (255 - dark) // 3))


def test_probabilities_are_the_packaged_networks(model, tiles):
    assert model.name == "tiny" and model.classes == CLASSES
    assert (model.tile_spec.size_px, model.tile_spec.mpp) == (64, 0.5)
    with torch.inference_mode():
        expected = load_classifier(model.packaged).network(torch.tensor(tiles)).softmax(1).numpy()
    found = model.probabilities(tiles)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_training_changes_what_classifies_next_and_says_so(model, tiles):
    packaged, before = model.packaged.read_bytes(), model.probabilities(tiles)
    labels = np.repeat([0, 1], 3)
    stats = model.refit(tiles, labels, ["a", "b"], 100.0)
    assert (model.probabilities(tiles).argmax(1) == labels).all()
    assert stats["agreement_after"] == 1 and stats["agreement_before"] == (before.argmax(1) == labels).mean()
    assert model.packaged.read_bytes() == packaged
    assert set(load_classifier(model.path).patients) == {"P1", "a", "b"}  # it must not be judged on them
    model.write_stats(stats)
    # Another process sees it, and training again from the same labels gives the same model.
    other = BundleModel(model.bundle, model.trained.parent)
    assert other.stats() == stats
    after = other.probabilities(tiles)
    model.refit(tiles, labels, ["a", "b"], 100.0)
    np.testing.assert_allclose(model.probabilities(tiles), after, atol=1e-6)
    model.trained.unlink()
    np.testing.assert_allclose(model.probabilities(tiles), before, atol=1e-6)
    assert model.stats() == {}


def test_another_bundle_of_that_name_does_not_go_on_with_the_old_training(model, tiles):
    model.refit(tiles, np.repeat([0, 1], 3), ["a"], 1.0)
    assert model.path == model.trained
    old = load_classifier(model.packaged)
    save_classifier(model.packaged, old.network, old.mode, old.settings, old.classes, old.patients, fold=3)
    assert model.path == model.packaged
    assert model.classifier().fold == 3


def test_what_is_no_model_is_refused_in_one_line(model, tmp_path):
    def refused(line: str) -> None:
        with pytest.raises(InputError, match=line) as caught:
            BundleModel(model.bundle, tmp_path).classifier()
        assert "\n" not in str(caught.value)

    metadata = model.bundle / "configs" / "metadata.json"
    good = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(good).replace('"0": "dark"', '"0": "tumor"'))
    refused("are not those of its metadata")
    metadata.write_text("[]")
    refused("is no JSON object")
    metadata.write_text("{")
    refused("is no JSON ")
    metadata.unlink()
    refused("metadata.json is missing; put the whole bundle there")
    weights = model.packaged.read_bytes()
    model.packaged.write_bytes(weights[: len(weights) // 2])
    refused("classifier.pt")
    model.packaged.unlink()
    refused("classifier.pt is missing; put the packaged bundle there")


def test_a_pickle_that_would_run_does_not(model, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    model.packaged.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"classifier\.pt"):
        model.classifier()
    torch.save({"classifier_format": 2, "mode": Trap()}, model.packaged)
    with pytest.raises(InputError, match=r"classifier\.pt"):
        model.classifier()
    assert not (tmp_path / "ran").exists()
