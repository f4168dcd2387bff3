from __future__ import annotations

import copy

import pytest
import torch
from torch_geometric.data import Batch

from hmgdm_monai.networks.build import build_hmgdm
from hmgdm_monai.networks.embedding_heads import LinearHead
from hmgdm_monai.networks.graph_classifier import EmbeddingClassifier, GraphClassifier


@pytest.fixture
def hmgdm():
    network = build_hmgdm(latent_dim=5, hidden_dim=8, num_layers=2, heads=2, readout=("mean", "std")).eval()
    network.standardizer.fit(3 * torch.randn(50, 5) + 1)
    return network


@pytest.fixture(params=["finetune", "linear"])
def classifier(request, hmgdm):
    if request.param == "finetune":
        return GraphClassifier(hmgdm, num_classes=3, hidden=6).eval()
    head = LinearHead(16, 3).set(torch.randn(3, 16), torch.randn(3))
    return EmbeddingClassifier(hmgdm, head).eval()


def test_a_graph_alone_gives_what_it_gives_in_a_batch(classifier, graph_list):
    together = classifier(Batch.from_data_list(graph_list))
    assert together.shape == (len(graph_list), 3)
    for number, graph in enumerate(graph_list):
        assert torch.allclose(classifier(graph)[0], together[number], atol=1e-5)


def test_order_does_not_matter(classifier, random_graph, reorder):
    graph = random_graph(9, 14)
    other, vertex_order, _ = reorder(graph)
    assert torch.allclose(classifier(graph), classifier(other), atol=1e-5)
    if isinstance(classifier, GraphClassifier):
        assert torch.allclose(classifier.attention(graph)[vertex_order], classifier.attention(other), atol=1e-6)


def test_attention_sums_to_one_in_each_graph(hmgdm, graph_list):
    batch = Batch.from_data_list(graph_list)
    attention = GraphClassifier(hmgdm, 3).eval().attention(batch)
    assert attention.shape == (batch.num_nodes,)
    sums = torch.zeros(len(graph_list)).index_add(0, batch.batch, attention)
    assert torch.allclose(sums, torch.ones(len(graph_list)), atol=1e-6)


def test_head_narrows_as_the_paper_s_does(hmgdm):
    shapes = [tuple(part.weight.shape) for part in GraphClassifier(hmgdm, 3).head if hasattr(part, "weight")]
    assert shapes == [(8, 8), (4, 8), (3, 4)]


def test_starts_from_the_pretrained_encoder_and_leaves_it_as_it_is(hmgdm, random_graph):
    before = copy.deepcopy(hmgdm.state_dict())
    graph = random_graph(6, 9)
    classifier = GraphClassifier(hmgdm, 2)
    assert torch.allclose(classifier.states(graph), hmgdm.encode(graph).vertex_states[-1])
    classifier(graph).sum().backward()
    torch.optim.SGD(classifier.parameters(), 1.0).step()
    assert all(torch.equal(value, before[name]) for name, value in hmgdm.state_dict().items())
    assert not any(name.startswith("denoiser") for name, _ in classifier.named_parameters())
    # The edges' last update reaches no vertex; all else of the encoder learns.
    last = f"encoder.layers.{len(classifier.encoder.layers) - 1}"
    still = [n for n, p in classifier.named_parameters() if p.grad is None and not n.startswith(last)]
    assert set(still) <= {"encoder.vertex_token", "encoder.edge_token"}


def test_embedding_classifier_is_head_of_embedding_and_frozen(hmgdm, random_graph):
    head = LinearHead(16, 2).set(torch.randn(2, 16), torch.randn(2))
    classifier = EmbeddingClassifier(hmgdm, head)
    graph = random_graph(6, 9)
    assert torch.allclose(classifier(graph), head(hmgdm.embed(graph)), atol=1e-6)
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
