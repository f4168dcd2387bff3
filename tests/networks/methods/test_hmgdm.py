"""The whole model: degenerate graphs, switches, leaks, determinism, embedding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.entities.latent_standardizer import LatentStandardizer
from hmgdm_monai.losses.masked_graph import MaskedGraphLoss
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder
from hmgdm_monai.networks.methods.graph_denoiser import GraphDenoiser
from hmgdm_monai.networks.methods.hmgdm import HMGDM, MaskedDiffusionOutput

SWITCHES = [{}, {"bottleneck": True}, {"edge_latents": False}, {"skip_connections": False}]


def build(
    edge_latents: bool = True,
    skip_connections: bool = True,
    bottleneck: bool = False,
    mode: str = "token",
) -> HMGDM:
    torch.manual_seed(0)
    encoder = GraphEncoder(5, 8, 2, edge_latents=edge_latents, bottleneck=bottleneck, hidden_entities=mode)
    denoiser = GraphDenoiser(5, 8, 2, heads=2, edge_latents=edge_latents, skip_connections=skip_connections)
    return HMGDM(encoder, denoiser)


def noising(prediction_type: str = "sample", **options: object) -> Noising:
    scheduler = DDPMScheduler(
        beta_schedule="sigmoid", beta_start=1e-7, beta_end=2e-3, clip_sample=False, prediction_type=prediction_type
    )
    return Noising(scheduler, **options)


def step(model: HMGDM, graph: EntityGraph, forward_process: Noising, seed: int = 3) -> MaskedDiffusionOutput:
    return model(graph, forward_process, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("mode", ["token", "adjacency", "induced"])
@pytest.mark.parametrize("sizes", [[(1, 0)], [(2, 1)], [(1, 0), (3, 0), (1, 0)], [(1, 0), (9, 14), (4, 0), (2, 1)]])
@pytest.mark.parametrize("switches", SWITCHES)
def test_degenerate_graphs_train(
    random_graph: Callable[..., EntityGraph], sizes: list[tuple[int, int]], switches: dict[str, bool], mode: str
) -> None:
    """No edges, one vertex, or no edge in the whole batch: loss and every gradient are finite."""
    graph = Batch.from_data_list([random_graph(*size, seed) for seed, size in enumerate(sizes)])
    model = build(**switches, mode=mode)
    loss = MaskedGraphLoss()(*step(model, graph, noising()))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert model.eval().embed(graph).isfinite().all()


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("prediction_type", ["sample", "epsilon", "v_prediction"])
def test_every_parameter_learns(graph_list: list[EntityGraph], switches: dict[str, bool], prediction_type: str) -> None:
    """What a switch turns off holds no idle parameters."""
    model = build(**switches)
    loss = MaskedGraphLoss()
    loss(*step(model, Batch.from_data_list(graph_list), noising(prediction_type))).backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0}
    assert idle == set()


def test_output_is_the_hidden_half(graph_list: list[EntityGraph]) -> None:
    graph, model = Batch.from_data_list(graph_list), build()
    vertex_visible, edge_visible = model.split(graph, torch.Generator().manual_seed(3))
    output = step(model, graph, noising())  # its first draws are those of the split
    assert torch.equal(output.vertex_target, graph.vertex_latents[~vertex_visible])
    assert torch.equal(output.edge_target, graph.edge_latents[~edge_visible])
    assert output.vertex_prediction.shape == output.vertex_target.shape
    assert output.edge_prediction.shape == output.edge_target.shape
    assert build(edge_latents=False)(graph, noising()).edge_target is None


def degraded(graph: EntityGraph, kinds: int = 2) -> EntityGraph:
    """The batch with degraded views: in view k all latents are 10 k."""
    graph = graph.clone()
    for name in ("vertex", "edge"):
        latents = graph[f"{name}_latents"]
        graph[f"{name}_views"] = torch.stack([torch.full_like(latents, 10.0 * k) for k in range(1, kinds + 1)], 1)
    return graph


def test_the_encoder_sees_a_view_of_each_graph_and_restores_the_clean_one(graph_list: list[EntityGraph]) -> None:
    graph, model = degraded(Batch.from_data_list(graph_list * 20)), build().eval()
    seen: list[tuple[Tensor, Tensor]] = []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    vertex_visible, edge_visible = model.split(graph, torch.Generator().manual_seed(3))
    output = step(model, graph, noising())
    assert torch.equal(output.vertex_target, graph.vertex_latents[~vertex_visible])
    assert torch.equal(output.edge_target, graph.edge_latents[~edge_visible])
    chosen = []
    for vertices, edges in seen:
        values = torch.stack((graph.vertex_latents, *graph.vertex_views.unbind(1)))
        of_vertex = (values == vertices).all(-1).int().argmax(0)
        assert torch.equal(values[of_vertex, torch.arange(len(vertices))], vertices)
        of_graph = torch.zeros(graph.num_graphs, dtype=torch.long).index_copy(0, graph.vertex_batch, of_vertex.long())
        assert torch.equal(of_graph[graph.vertex_batch], of_vertex.long())  # one view for all of a graph
        values = torch.stack((graph.edge_latents, *graph.edge_views.unbind(1)))
        assert torch.equal(values[of_graph[graph.edge_batch], torch.arange(len(edges))], edges)  # and for its edges
        chosen.append(of_graph)
    assert len(chosen) == 1
    counts = chosen[0].bincount(minlength=3) / graph.num_graphs
    assert torch.allclose(counts, torch.full((3,), 1 / 3), atol=0.15)


def test_degraded_views_change_training_alone(graph_list: list[EntityGraph]) -> None:
    """Embeddings are of the tile as it came; without edge latents their views are not asked for."""
    graph, model = Batch.from_data_list(graph_list), build().eval()
    assert torch.equal(model.embed(degraded(graph)), model.embed(graph))
    one, two = build(edge_latents=False), degraded(graph)
    del two.edge_views
    assert step(one, two, noising()).edge_target is None
    assert not torch.equal(step(model, degraded(graph), noising())[0], step(model, graph, noising())[0])


def test_targets_are_standardized(graph_list: list[EntityGraph]) -> None:
    graph, model = Batch.from_data_list(graph_list), build()
    plain = step(model, graph, noising())
    graph.vertex_latents, graph.edge_latents = 7 * graph.vertex_latents + 3, 7 * graph.edge_latents + 3
    model.standardizer.mean.fill_(3), model.standardizer.std.fill_(7)
    for one, two in zip(plain, step(model, graph, noising()), strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-5)


class PureNoise(Noising):
    """Forward process that leaves nothing of the latents."""

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        return noise


@pytest.mark.parametrize("mode", ["token", "adjacency", "induced"])
def test_nothing_leaks_into_a_training_step(graph_list: list[EntityGraph], mode: str) -> None:
    """Once noise has swallowed them, the hidden latents have no way into the prediction."""
    graph, model = Batch.from_data_list(graph_list), build(mode=mode)
    forward_process = PureNoise(noising().scheduler)
    vertex_visible, edge_visible = model.split(graph, torch.Generator().manual_seed(3))
    before = step(model, graph, forward_process)
    graph.vertex_latents = torch.where(vertex_visible.unsqueeze(1), graph.vertex_latents, 1e3)
    graph.edge_latents = torch.where(edge_visible.unsqueeze(1), graph.edge_latents, 1e3)
    after = step(model, graph, forward_process)
    assert torch.equal(after.vertex_prediction, before.vertex_prediction)
    assert torch.equal(after.edge_prediction, before.edge_prediction)
    assert (after.vertex_target == 1e3).all() and (after.edge_target == 1e3).all()


def test_prediction_has_no_gradient_on_clean_hidden_latents(
    random_graph: Callable[..., EntityGraph], alternate: Callable[[int], Tensor]
) -> None:
    """The noisy latents held, encoder and denoiser together see the visible ones alone."""
    graph, model, visible = random_graph(11, 20), build(), (alternate(11), alternate(20))
    noisy = torch.randn_like(graph.vertex_latents), torch.randn_like(graph.edge_latents)
    graph.vertex_latents.requires_grad_(), graph.edge_latents.requires_grad_()
    encoding = model.encode(graph, *visible)
    vertices, edges = model.denoise(graph, *noisy, encoding, *visible, torch.tensor([500]))
    (vertices[~visible[0]].square().sum() + edges[~visible[1]].square().sum()).backward()
    for latents, seen in zip((graph.vertex_latents, graph.edge_latents), visible, strict=True):
        assert latents.grad[~seen].abs().max() == 0
        assert (latents.grad[seen].abs().sum(1) > 0).all()


def test_same_seed_same_step(graph_list: list[EntityGraph]) -> None:
    graph, model = Batch.from_data_list(graph_list), build()
    one, two, other = (step(model, graph, noising(), seed) for seed in (3, 3, 4))
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))
    assert not torch.equal(one.vertex_target, other.vertex_target)


def test_noise_intensity_switch(graph_list: list[EntityGraph]) -> None:
    """Fixed: the denoiser is told one timestep, always; dynamic: many."""
    graph, model, told = Batch.from_data_list(graph_list), build(), {"fixed": set(), "dynamic": set()}
    for intensity, seen in told.items():
        hook = model.denoiser.timesteps.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.update(args[0].tolist())
        )
        for seed in range(3):
            step(model, graph, noising(noise_intensity=intensity), seed)
        hook.remove()
    assert told["fixed"] == {500} and len(told["dynamic"]) > 6


def test_autocast_trains(graph_list: list[EntityGraph]) -> None:
    graph, model = Batch.from_data_list(graph_list), build(bottleneck=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = MaskedGraphLoss()(*step(model, graph, noising()))
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_embedding(graph_list: list[EntityGraph], reorder: Callable[..., tuple[EntityGraph, Tensor, Tensor]]) -> None:
    """A graph has one embedding: alone, in a batch, and in any order of its entities."""
    model = build(bottleneck=True).eval()
    together = model.embed(Batch.from_data_list(graph_list))
    assert together.shape == (len(graph_list), 2 * (8 + 5))  # mean and deviation of states and of latents
    for row, graph in zip(together, graph_list, strict=True):
        torch.testing.assert_close(model.embed(graph)[0], row, rtol=0, atol=1e-4)
        torch.testing.assert_close(model.embed(reorder(graph)[0])[0], row, rtol=0, atol=1e-4)


def test_single_graph_trains(random_graph: Callable[..., EntityGraph]) -> None:
    graph = random_graph(11, 20)
    alone, batch = (
        step(build(), graph, noising()),
        step(build(), Batch.from_data_list([graph]), noising()),
    )
    assert all(torch.equal(x, y) for x, y in zip(alone, batch, strict=True))


@pytest.mark.parametrize(
    ("name", "denoiser"),
    [
        ("latent_dim", GraphDenoiser(4, 8, 2)),
        ("hidden_dim", GraphDenoiser(5, 16, 2)),
        ("num_layers", GraphDenoiser(5, 8, 3)),
        ("edge_latents", GraphDenoiser(5, 8, 2, edge_latents=False)),
    ],
)
def test_halves_must_match(name: str, denoiser: GraphDenoiser) -> None:
    with pytest.raises(ValueError, match=name):
        HMGDM(GraphEncoder(5, 8, 2), denoiser)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_bad_mask_ratio(ratio: float) -> None:
    with pytest.raises(ValueError, match="mask_ratio"):
        HMGDM(GraphEncoder(5, 8, 2), GraphDenoiser(5, 8, 2), ratio)


def test_standardizer_round_trip() -> None:
    latents = torch.randn(50, 5) * torch.tensor([1e-3, 1.0, 40.0, 2.0, 1.0]) + torch.tensor([0.0, -9.0, 5.0, 1e2, 0.0])
    standardizer = LatentStandardizer(5)
    torch.testing.assert_close(standardizer(latents), latents)  # not fitted: as they are
    standardizer.fit(latents)
    scaled = standardizer(latents).numpy()
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-4)
    torch.testing.assert_close(standardizer.inverse(standardizer(latents)), latents, rtol=1e-5, atol=1e-5)
    restored = LatentStandardizer(5)
    restored.load_state_dict(standardizer.state_dict())
    assert torch.equal(restored(latents), standardizer(latents))


def test_channel_without_variance_is_not_blown_up() -> None:
    standardizer = LatentStandardizer(2)
    standardizer.fit(torch.tensor([[2.0, 1.0], [2.0, 3.0]]))
    torch.testing.assert_close(standardizer(torch.tensor([[2.1, 1.0]])), torch.tensor([[0.1, -1.0]]))
    standardizer.fit(torch.tensor([[2.0, 1.0]]))
    assert standardizer(torch.tensor([[2.0, 1.0]])).abs().max() == 0


@pytest.mark.parametrize("latents", [torch.zeros(0, 5), torch.full((3, 5), torch.nan)])
def test_standardizer_refuses(latents: Tensor) -> None:
    with pytest.raises(ValueError, match="finite"):
        LatentStandardizer(5).fit(latents)
