"""Sampling: exact with a perfect model, true to the visible half, repeatable."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder
from hmgdm_monai.networks.methods.graph_denoiser import GraphDenoiser
from hmgdm_monai.networks.methods.hmgdm import HMGDM
from hmgdm_monai.networks.methods.sampling import HiddenSample, ddim_scheduler, sample_hidden

VERTEX_VISIBLE = torch.tensor([True, False, False, True, False, True, True, False])
EDGE_VISIBLE = torch.tensor([True, False, True, False, False])


def noising(prediction_type: str = "sample") -> Noising:
    return Noising(
        DDPMScheduler(
            beta_schedule="sigmoid", beta_start=1e-7, beta_end=2e-3, clip_sample=False, prediction_type=prediction_type
        )
    )


def build(**options: bool) -> HMGDM:
    torch.manual_seed(0)
    edges = options.get("edge_latents", True)
    model = HMGDM(GraphEncoder(5, 8, 2, **options), GraphDenoiser(5, 8, 2, heads=2, edge_latents=edges))
    model.standardizer.mean.fill_(3.0), model.standardizer.std.fill_(7.0)
    return model


def two_graphs() -> Batch:
    """Five vertices with four edges, and three with one."""
    generator = torch.Generator().manual_seed(5)
    graphs = [
        EntityGraph(
            pos=torch.rand(vertices, 2, generator=generator),
            edge_index=torch.tensor(ends),
            vertex_latents=3 + 7 * torch.randn(vertices, 5, generator=generator),
            edge_latents=3 + 7 * torch.randn(len(ends[0]), 5, generator=generator),
        )
        for vertices, ends in ((5, [[0, 1, 2, 4], [1, 2, 3, 0]]), (3, [[2], [0]]))
    ]
    return Batch.from_data_list(graphs)


def sample(model: HMGDM, graph: Batch, forward_process: Noising, seed: int = 0, **options: int) -> HiddenSample:
    generator = torch.Generator().manual_seed(seed)
    return sample_hidden(model, graph, VERTEX_VISIBLE, EDGE_VISIBLE, forward_process, generator=generator, **options)


@pytest.mark.parametrize("kind", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("num_steps", [1, 8, 50])
def test_a_perfect_model_restores_exactly(monkeypatch: pytest.MonkeyPatch, kind: str, num_steps: int) -> None:
    """Told the truth at every step, in whatever form, the walk ends at the clean latents, in their original scale."""
    model, graph, forward_process = build(), two_graphs(), noising(kind)
    clean = model.standardizer(graph.vertex_latents), model.standardizer(graph.edge_latents)

    def perfect(_: EntityGraph, vertices: Tensor, edges: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        time, out = rest[-1][0], []
        signal = forward_process.scheduler.alphas_cumprod[time]
        for noisy, truth in ((vertices, clean[0]), (edges, clean[1])):
            noise = (noisy - signal.sqrt() * truth) / (1 - signal).sqrt()
            out.append(forward_process.target(truth, noise, time.expand(len(truth))))
        return out[0], out[1]

    monkeypatch.setattr(model, "denoise", perfect)
    result = sample(model, graph, forward_process, num_steps=num_steps)
    for latents in (result.final, *result.steps):
        torch.testing.assert_close(latents.vertex_latents, graph.vertex_latents, rtol=0, atol=2e-4)
        torch.testing.assert_close(latents.edge_latents, graph.edge_latents, rtol=0, atol=2e-4)


def test_starts_from_the_noise_of_the_last_timestep(monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph, forward_process, calls = build(), two_graphs(), noising(), []
    denoise = model.denoise
    monkeypatch.setattr(model, "denoise", lambda *args: (calls.append(args), denoise(*args))[1])
    sample(model, graph, forward_process, num_steps=10)
    generator = torch.Generator().manual_seed(0)
    for noisy in calls[0][1:3]:
        expected = (1 - forward_process.signal_at_end) ** 0.5 * torch.randn(noisy.shape, generator=generator)
        torch.testing.assert_close(noisy, expected)
    assert [args[-1].tolist() for args in calls] == [[t, t] for t in range(999, 0, -100)]


def test_visible_entities_stay_and_hidden_are_not_read() -> None:
    model, graph = build(), two_graphs()
    before = sample(model, graph, noising(), num_steps=10)
    graph.vertex_latents[~VERTEX_VISIBLE], graph.edge_latents[~EDGE_VISIBLE] = torch.nan, torch.nan
    after = sample(model, graph, noising(), num_steps=10)
    for one, two in zip((before.final, *before.steps), (after.final, *after.steps), strict=True):
        assert torch.equal(one.vertex_latents, two.vertex_latents) and torch.equal(one.edge_latents, two.edge_latents)
        assert torch.equal(two.vertex_latents[VERTEX_VISIBLE], graph.vertex_latents[VERTEX_VISIBLE])
        assert torch.equal(two.edge_latents[EDGE_VISIBLE], graph.edge_latents[EDGE_VISIBLE])


def test_repeatable_though_the_bottleneck_samples_in_training() -> None:
    model, graph = build(bottleneck=True), two_graphs()
    model.encoder.layers[0].eval()  # a frozen part
    one, two, other = (sample(model, graph, noising(), seed, num_steps=5).final for seed in (0, 0, 1))
    assert torch.equal(one.vertex_latents, two.vertex_latents) and torch.equal(one.edge_latents, two.edge_latents)
    hidden = ~VERTEX_VISIBLE
    assert not torch.isclose(one.vertex_latents, other.vertex_latents)[hidden].all(1).any()
    assert model.training and model.denoiser.training and not model.encoder.layers[0].training
    assert not one.vertex_latents.requires_grad


@pytest.mark.parametrize(
    ("num_steps", "keep_steps", "kept"), [(10, 3, [999, 599, 99]), (5, 8, 5), (5, 0, []), (5, 1, [999])]
)
def test_steps_for_a_figure(num_steps: int, keep_steps: int, kept: list[int] | int) -> None:
    result = sample(build(), two_graphs(), noising(), num_steps=num_steps, keep_steps=keep_steps)
    timesteps = [step.timestep for step in result.steps]
    assert timesteps == kept or len(timesteps) == kept
    if keep_steps > 1:  # the last prediction is what the walk ends at
        torch.testing.assert_close(result.steps[-1].vertex_latents, result.final.vertex_latents, rtol=0, atol=1e-4)


def test_without_edge_latents() -> None:
    result = sample(build(edge_latents=False), two_graphs(), noising(), num_steps=5)
    assert result.final.edge_latents is None and result.final.vertex_latents.isfinite().all()


def test_single_graph() -> None:
    graph = two_graphs().get_example(0)
    result = sample_hidden(build(), graph, VERTEX_VISIBLE[:5], EDGE_VISIBLE[:4], noising(), num_steps=5)
    assert result.final.vertex_latents.isfinite().all()


def test_sampler_walks_the_schedule_of_training() -> None:
    forward_process = noising("v_prediction")
    sampler = ddim_scheduler(forward_process.scheduler, 20)
    assert torch.equal(sampler.alphas_cumprod, forward_process.scheduler.alphas_cumprod)
    assert sampler.config.prediction_type == "v_prediction" and not sampler.config.clip_sample


@pytest.mark.parametrize("options", [{"num_steps": 0}, {"num_steps": 30}, {"num_steps": 2000}, {"keep_steps": -1}])
def test_bad_settings(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        sample(build(), two_graphs(), noising(), **options)
