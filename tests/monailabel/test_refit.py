from __future__ import annotations

import numpy as np
import pytest
import torch
from lib.refit import moved_layer, refitted

from hmgdm_monai.saving.classifier_file import load_classifier


@pytest.fixture
def problem():
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 6, generator=draw)
    labels = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 1).long()
    return torch.randn(3, 6, generator=draw), torch.randn(3, generator=draw), inputs, labels


def test_the_layer_is_the_minimum_of_what_it_says_it_minimizes(problem):
    weight0, bias0, inputs, labels = problem
    weight, bias = (value.double().requires_grad_() for value in moved_layer(weight0, bias0, inputs, labels, 0.7))
    scale = inputs.double().square().mean().sqrt()
    logits = inputs.double() @ weight.T + bias
    entropies = -torch.log_softmax(logits, 1)[torch.arange(40), labels].sum()
    loss = 0.7 * entropies + ((scale * (weight - weight0)) ** 2).sum() / 2 + ((bias - bias0) ** 2).sum() / 2
    loss.backward()
    assert weight.grad.abs().max() < 1e-3 and bias.grad.abs().max() < 1e-3
    assert (weight - weight0).abs().max() > 0.1


def test_a_weak_label_moves_nothing_and_a_strong_one_wins(problem):
    weight0, bias0, inputs, labels = problem
    near, _ = moved_layer(weight0, bias0, inputs, labels, 1e-6)
    torch.testing.assert_close(near, weight0, atol=1e-3, rtol=0)
    weight, bias = moved_layer(weight0, bias0, inputs, labels, 1e4)
    assert ((inputs @ weight.T + bias).argmax(1) == labels).float().mean() > 0.9


def test_the_scale_of_the_inputs_does_not_matter(problem):
    weight0, bias0, inputs, labels = problem
    weight, bias = moved_layer(weight0, bias0, inputs, labels, 1.0)
    scaled, scaled_bias = moved_layer(weight0 / 1e3, bias0, inputs * 1e3, labels, 1.0)
    torch.testing.assert_close(scaled * 1e3, weight, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scaled_bias, bias, atol=1e-4, rtol=1e-4)


def test_labels_of_one_class_alone_raise_it_and_no_number_breaks(problem):
    weight0, bias0, inputs, _ = problem
    weight, bias = moved_layer(weight0, bias0, inputs[:1], torch.tensor([2]), 1.0)
    before, after = (inputs[:1] @ weight0.T + bias0).softmax(1), (inputs[:1] @ weight.T + bias).softmax(1)
    assert after[0, 2] > before[0, 2]
    zeros, _ = moved_layer(weight0, bias0, torch.zeros(1, 6), torch.tensor([2]), 1.0)
    torch.testing.assert_close(zeros, weight0)


@pytest.mark.parametrize("mode", ["linear", "knn", "finetune"])
def test_a_classifier_of_each_mode_learns_and_keeps_its_encoder(write_bundle, tmp_path, stained, mode):
    path = write_bundle(tmp_path / "b", mode) / "models" / "classifier.pt"
    classifier = load_classifier(path)
    settings = classifier.settings
    dark = np.stack([stained(64 + 8 * i, 64)[:, -64:] for i in range(4)]).transpose(0, 3, 1, 2)
    images = np.concatenate((dark, 255 - (255 - dark) // 3))
    labels = np.repeat([0, 1], 4)
    before = {name: value.clone() for name, value in classifier.network.state_dict().items()}
    network, new_settings = refitted(classifier.network, mode, settings, images, labels, strength=100.0)
    assert not network.training
    for name, value in classifier.network.state_dict().items():
        assert torch.equal(value, before[name]), name  # the packaged one is as it was
    encoder = network.encoder.state_dict()
    assert all(torch.equal(value, encoder[name]) for name, value in classifier.network.encoder.state_dict().items())
    with torch.inference_mode():
        old, new = (some(torch.tensor(images)).softmax(1).numpy() for some in (classifier.network, network))
    assert new[range(8), labels].mean() > old[range(8), labels].mean() + 0.02
    assert (new.argmax(1) == labels).mean() >= (1.0 if mode == "linear" else 0.75)
    assert new_settings.get("num_examples", 12) == 12  # 4 remembered, and 8
