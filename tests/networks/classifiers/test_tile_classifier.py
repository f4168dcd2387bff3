"""Classifiers on top of both kinds of encoder."""

from __future__ import annotations

import copy

import pytest
import torch
from torch_geometric.data import Batch

from hmgdm_monai.networks.classifiers.embedding_heads import LinearHead
from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier, TileClassifier
from hmgdm_monai.saving.tile_encoders import build_tile_encoder


@pytest.fixture(params=["hmgdm", "vit"])
def encoder(request, tiny):
    """Both kinds; D = 8, embeddings of 16."""
    if request.param == "vit":
        settings = {"vit": {**tiny.vit["vit"], "hidden_dim": 8}, "readout": "both"}
        return build_tile_encoder("vit", settings, tiny.run).eval()
    made = tiny.encoder(hidden_dim=8, readout=["mean", "std"])
    made.hmgdm.standardizer.fit(3 * torch.randn(50, 24) + 1)
    return made


@pytest.fixture
def tiles(encoder):
    """Prepared samples of several tiles, one of them of one color."""
    images = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8)
    images[1] = 90
    with torch.no_grad():
        return [encoder.prepare(encoder.to_sample(image)) for image in images]


@pytest.fixture(params=["finetune", "linear"])
def classifier(request, encoder):
    if request.param == "finetune":
        return GatedTileClassifier(encoder, num_classes=3, hidden=6).eval()
    return TileClassifier(encoder, LinearHead(16, 3).set(torch.randn(3, 16), torch.randn(3))).eval()


def test_a_tile_alone_gives_what_it_gives_in_a_batch(classifier, tiles):
    together = classifier(Batch.from_data_list(tiles))
    assert together.shape == (len(tiles), 3)
    for number, tile in enumerate(tiles):
        assert torch.allclose(classifier(tile)[0], together[number], atol=1e-5)


def test_order_of_vertices_does_not_matter(tiny, reorder):
    encoder = tiny.encoder()
    with torch.no_grad():
        graph = encoder.prepare(encoder.to_sample(torch.randint(256, (3, 64, 64), dtype=torch.uint8)))
    other, vertex_order, _ = reorder(graph)
    classifier = GatedTileClassifier(encoder, num_classes=3, hidden=6).eval()
    assert torch.allclose(classifier(graph), classifier(other), atol=1e-5)
    assert torch.allclose(classifier.attention(graph)[vertex_order], classifier.attention(other), atol=1e-6)


def test_attention_sums_to_one_in_each_tile(encoder, tiles):
    batch = Batch.from_data_list(tiles)
    attention = GatedTileClassifier(encoder, 3).eval().attention(batch)
    states, tile, count = encoder.states(batch)
    assert attention.shape == (len(states),) and count == len(tiles)
    sums = torch.zeros(len(tiles)).index_add(0, tile, attention)
    assert torch.allclose(sums, torch.ones(len(tiles)), atol=1e-6)


def test_head_narrows_as_the_paper_s_does(encoder):
    shapes = [tuple(part.weight.shape) for part in GatedTileClassifier(encoder, 3).head if hasattr(part, "weight")]
    assert shapes == [(8, 8), (4, 8), (3, 4)]


def test_fine_tuning_starts_from_the_pretrained_encoder_and_leaves_it_as_it_is(encoder, tiles):
    before = copy.deepcopy(encoder.state_dict())
    batch = Batch.from_data_list(tiles)
    classifier = GatedTileClassifier(encoder, 2)
    assert torch.equal(classifier.encoder.states(batch)[0], encoder.states(batch)[0])
    classifier(batch).sum().backward()
    torch.optim.SGD([p for p in classifier.parameters() if p.requires_grad], 1.0).step()
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any("denoiser" in name for name, _ in classifier.named_parameters())
    still = {n for n, p in classifier.named_parameters() if p.requires_grad and p.grad is None}
    # The edges' last update reaches no vertex, and whole graphs hide nothing; all else learns.
    assert all(n.startswith("encoder.hmgdm.encoder.layers.1") or n.endswith("_token") for n in still)
    frozen = {n for n, p in classifier.named_parameters() if not p.requires_grad}
    assert all(n.startswith("encoder.entities.") or n.endswith("position_embeddings") for n in frozen)


def test_a_head_on_the_embedding_is_frozen(encoder, tiles):
    head = LinearHead(16, 2).set(torch.randn(2, 16), torch.randn(2))
    classifier, batch = TileClassifier(encoder, head), Batch.from_data_list(tiles)
    assert torch.allclose(classifier(batch), head(encoder.embed(batch)), atol=1e-6)
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_images_give_what_their_prepared_samples_give(encoder):
    classifier = GatedTileClassifier(encoder, 2).eval()
    images = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8)
    samples = encoder.prepare(Batch.from_data_list([encoder.to_sample(image) for image in images]))
    assert torch.equal(classifier(images.float()), classifier(samples))
    with pytest.raises(ValueError, match=r"images \(B, 3, S, S\)"):
        classifier(images[:, :1].float())


def test_logits_of_entities_add_up_to_those_of_the_tile(encoder, tiles):
    classifier = TileClassifier(encoder, LinearHead(16, 3).set(torch.randn(3, 16), torch.randn(3))).eval()
    batch = Batch.from_data_list(tiles)
    logits, weights = classifier.entity_logits(batch)
    _, tile, count = encoder.states(batch)
    summed = torch.zeros(count, 3).index_add(0, tile, weights[:, None] * logits)
    assert torch.allclose(summed, classifier(batch), atol=1e-4)
    assert torch.allclose(torch.zeros(count).index_add(0, tile, weights), torch.ones(count))


def test_a_fine_tuned_classifier_gives_each_entity_its_own_logits_and_weight(encoder, tiles):
    classifier = GatedTileClassifier(encoder, num_classes=3, hidden=6).eval()
    batch = Batch.from_data_list(tiles)
    logits, weights = classifier.entity_logits(batch)
    assert torch.equal(weights, classifier.attention(batch))
    states, tile, _ = encoder.states(batch)
    for number in range(len(tiles)):  # a tile that consists of one entity has the logits of that entity
        first = states[tile == number][:1]
        pooled, _ = classifier.pooling(first, torch.zeros(1, dtype=torch.long), 1)
        assert torch.allclose(classifier.head(pooled), logits[tile == number][:1], atol=1e-5)
