"""Attention within graphs: against loops, never across, and at the cost of graphs, not of batches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hmgdm_monai.networks.layers.graph_attention import GraphAttention, RaggedBatch

DIM, HEADS = 8, 2
QUERY_BATCH = torch.tensor([2, 0, 0, 3, 2, 0, 1, 2])
KEY_BATCH = torch.tensor([0, 2, 2, 0, 3, 0, 2, 0, 2, 0])  # graph 1 has queries but no keys


def attend(layer: GraphAttention, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return layer(queries, keys, RaggedBatch(QUERY_BATCH, 4), RaggedBatch(KEY_BATCH, 4))


def by_loops(layer: GraphAttention, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    width, rows = DIM // HEADS, []
    k, v = layer.key_value(keys).split(DIM, dim=-1)
    for query, graph in zip(layer.query(queries), QUERY_BATCH, strict=True):
        mine, heads = KEY_BATCH == graph, []
        for h in range(HEADS):
            part = slice(h * width, (h + 1) * width)
            weights = torch.softmax(k[mine][:, part] @ query[part] / width**0.5, dim=0)
            heads.append(weights @ v[mine][:, part])
        rows.append(layer.out(torch.cat(heads)))
    return torch.stack(rows)


def test_equals_loops() -> None:
    layer = GraphAttention(DIM, HEADS).double()
    queries, keys = torch.randn(8, DIM).double(), torch.randn(10, DIM).double()
    torch.testing.assert_close(attend(layer, queries, keys), by_loops(layer, queries, keys), rtol=0, atol=1e-12)


def test_never_crosses_graphs() -> None:
    layer, queries, keys = GraphAttention(DIM, HEADS), torch.randn(8, DIM), torch.randn(10, DIM)
    before = attend(layer, queries, keys)
    keys[KEY_BATCH == 2] = torch.randn(4, DIM)
    after = attend(layer, queries, keys)
    other = QUERY_BATCH != 2
    assert torch.equal(after[other], before[other])
    assert not torch.isclose(after[~other], before[~other]).all(1).any()


def test_graph_without_keys_gets_the_bias_and_no_gradient() -> None:
    layer = GraphAttention(DIM, HEADS)
    queries, keys = torch.randn(8, DIM, requires_grad=True), torch.randn(10, DIM, requires_grad=True)
    out = attend(layer, queries, keys)
    torch.testing.assert_close(out[6], layer.out.bias)
    out.square().sum().backward()
    assert queries.grad.isfinite().all() and keys.grad.isfinite().all()
    assert queries.grad[6].abs().max() == 0


def test_nothing_to_attend() -> None:
    layer, none = GraphAttention(DIM, HEADS), torch.zeros(0, dtype=torch.long)
    queries = torch.randn(8, DIM)
    to_none = layer(queries, torch.zeros(0, DIM), RaggedBatch(QUERY_BATCH, 4), RaggedBatch(none, 4))
    torch.testing.assert_close(to_none, layer.out.bias.expand(8, DIM))
    assert layer(torch.zeros(0, DIM), queries, RaggedBatch(none, 4), RaggedBatch(QUERY_BATCH, 4)).shape == (0, DIM)


def test_padding_and_back() -> None:
    places, states = RaggedBatch(QUERY_BATCH, 5), torch.randn(8, DIM)
    padded = places.pad(states)
    assert padded.shape == (5, 3, DIM) and places.mask.sum(1).tolist() == [3, 1, 3, 1, 0]
    assert torch.equal(places.unpad(padded), states)
    assert padded[~places.mask].abs().max() == 0
    for graph in range(5):
        assert torch.equal(padded[graph][places.mask[graph]], states[QUERY_BATCH == graph])


def test_cost_is_linear_in_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores held are B * heads * M^2, so eight times the graphs cost eight times as much, not sixty-four."""
    scores, kernel = [], F.scaled_dot_product_attention

    def counting(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: object) -> torch.Tensor:
        scores.append(q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2])
        return kernel(q, k, v, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counting)
    layer, entities = GraphAttention(DIM, HEADS), 11
    for graphs in (4, 32):
        batch = torch.arange(graphs).repeat_interleave(entities)
        states, places = torch.randn(len(batch), DIM), RaggedBatch(batch, graphs)
        layer(states, states, places, places)
    assert scores == [graphs * HEADS * entities**2 for graphs in (4, 32)]


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="divide"):
        GraphAttention(8, 3)
