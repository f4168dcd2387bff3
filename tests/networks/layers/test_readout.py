"""Pooling against NumPy, and where there is nothing to pool."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.networks.layers.readout import DEFAULT_STATISTICS, STATISTICS, StatisticsReadout


def test_equals_numpy() -> None:
    states, batch = torch.randn(12, 4), torch.tensor([0, 2, 2, 0, 2, 3, 0, 2, 2, 0, 2, 2])  # graph 1 is empty
    pooled = StatisticsReadout(("mean", "std", "max"))(states, batch, 4).numpy()
    for graph in (0, 2, 3):
        rows = states[batch == graph].numpy()
        expected = np.concatenate((rows.mean(0), rows.std(0), rows.max(0)))
        np.testing.assert_allclose(pooled[graph], expected, atol=2e-4)
    np.testing.assert_allclose(pooled[1], 0, atol=1e-7)


def test_edges_are_pooled_by_themselves_and_asked_for_only_where_they_are() -> None:
    states, edges = torch.randn(3, 4), torch.randn(5, 4)
    batch, edge_batch = torch.tensor([0, 0, 1]), torch.tensor([0, 0, 2, 2, 0])
    pooled = StatisticsReadout(("mean", "edge_mean"))(states, batch, 3, edges, edge_batch)
    for graph in range(3):
        for part, rows in zip(
            pooled[graph].split(4), (states[batch == graph], edges[edge_batch == graph]), strict=True
        ):
            assert torch.allclose(part, rows.mean(0) if len(rows) else torch.zeros(4), atol=1e-6)
    with pytest.raises(ValueError, match="edge_mean"):
        StatisticsReadout(("mean", "edge_mean"))(states, batch, 3)


def test_latents_are_pooled_in_the_place_that_they_are_named_in() -> None:
    states, latents, batch = torch.randn(3, 4), torch.randn(3, 7), torch.tensor([0, 2, 2])
    pooled = StatisticsReadout(("mean", "latent_mean"))(states, batch, 3, latents=latents)
    assert pooled.shape == (3, 11)
    assert torch.allclose(pooled[2, 4:], latents[1:].mean(0)) and torch.equal(pooled[1], torch.zeros(11))
    assert torch.allclose(pooled[2, :4], states[1:].mean(0))
    for name in ("latent_mean", "latent_std"):
        with pytest.raises(ValueError, match=name):
            StatisticsReadout(("mean", name))(states, batch, 3)


def test_the_deviation_of_latents_is_that_of_the_population() -> None:
    states, latents, batch = torch.randn(6, 4), 3 * torch.randn(6, 7) + 1, torch.tensor([0, 0, 2, 2, 2, 3])
    pooled = StatisticsReadout(("latent_std", "mean"))(states, batch, 4, latents=latents)
    assert pooled.shape == (4, 11)
    for graph in (0, 2):
        np.testing.assert_allclose(pooled[graph, :7], latents[batch == graph].numpy().std(0), atol=1e-4)
    assert pooled[[1, 3], :7].abs().max() < 1e-6  # none there, and one alone


def test_lone_entity_has_finite_gradient() -> None:
    states = torch.randn(1, 4, requires_grad=True)
    StatisticsReadout(("std",))(states, torch.zeros(1, dtype=torch.long), 1).sum().backward()
    assert states.grad.isfinite().all()


@pytest.mark.parametrize("statistics", [(), ("mean", "median")])
def test_unknown_statistics(statistics: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="statistics"):
        StatisticsReadout(statistics)


@pytest.mark.parametrize("statistics", [STATISTICS, DEFAULT_STATISTICS, ("latent_mean", "max")])
def test_the_mean_of_the_vertices_own_embeddings_is_that_of_their_graph(statistics: tuple[str, ...]) -> None:
    states, latents, edges = torch.randn(9, 4), torch.randn(9, 7), torch.randn(5, 4)
    batch, edge_batch = torch.tensor([0, 2, 2, 0, 2, 2, 0, 2, 0]), torch.tensor([0, 2, 2, 2, 0])
    readout = StatisticsReadout(statistics)
    pooled = readout(states, batch, 3, edges, edge_batch, latents)
    own = readout.of_vertices(pooled, states, batch, latents)
    assert own.shape == (9, pooled.shape[1])
    for graph in (0, 2):
        assert torch.allclose(own[batch == graph].mean(0), pooled[graph], atol=1e-6)
    # Vertices of a graph differ in their means alone.
    if "mean" in statistics:
        place = 4 * statistics.index("mean")
        assert torch.equal(own[:, place : place + 4], states)
    with pytest.raises(ValueError, match="latent"):
        readout.of_vertices(pooled, states, batch)
