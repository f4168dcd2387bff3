"""Collapse and probe stand for their own epoch, and for no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ignite.engine import Engine
from torch import Tensor, nn

from hmgdm_monai.handlers.embedding_monitor import CollapseMonitor, LinearProbeMonitor


def evaluator(embeddings: list[Tensor]) -> Engine:
    return Engine(lambda engine, index: [{"pred": row} for row in embeddings[index]])


def collapse(*batches: Tensor) -> dict[str, float]:
    engine = evaluator(list(batches))
    CollapseMonitor().attach(engine)
    return dict(engine.run(range(len(batches))).metrics)


def test_a_line_is_collapsed_and_a_cloud_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    line = torch.randn(40, 1, generator=generator) * torch.randn(8, generator=generator)
    cloud = torch.randn(40, 8, generator=generator)
    assert collapse(line[:20], line[20:])["collapse_rank"] > 0.8
    assert collapse(cloud[:20], cloud[20:])["collapse_rank"] < 0.3


def test_each_run_scores_its_own_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = [torch.randn(40, 1, generator=generator) * torch.randn(8, generator=generator)]
    engine = evaluator(embeddings)
    CollapseMonitor().attach(engine)
    engine.run([0])
    embeddings[0] = torch.randn(40, 8, generator=generator)
    assert engine.run([0]).metrics["collapse_rank"] == pytest.approx(collapse(embeddings[0])["collapse_rank"])


def test_a_lone_embedding_has_no_collapse() -> None:
    assert collapse(torch.randn(1, 8)) == {}


class Means(nn.Module):
    def embed(self, batch) -> Tensor:
        return torch.stack([batch.vertex_latents[batch.batch == i].mean(0) for i in range(batch.num_graphs)])


@pytest.fixture
def probed(toy_stage: Callable) -> Callable[..., tuple[Engine, LinearProbeMonitor]]:
    graphs = toy_stage().graphs[:12]
    for number, graph in enumerate(graphs):
        graph.vertex_latents = graph.vertex_latents + 10.0 * (number % 2)

    def build(**settings) -> tuple[Engine, LinearProbeMonitor]:
        engine = Engine(lambda engine, batch: None)
        engine.state.device = "cpu"
        labels = settings.pop("labels", ["ab"[i % 2] for i in range(12)])
        patients = settings.pop("patients", [f"p{i}" for i in range(12)])
        probe = LinearProbeMonitor(Means(), graphs, range(12), labels, patients, **settings)
        probe.attach(engine)
        return engine, probe

    return build


def run_epochs(engine: Engine, count: int) -> list[dict[str, float]]:
    found = []
    for epoch in range(count):
        engine.state.epoch, engine.state.max_epochs, engine.state.iteration = epoch, epoch + 1, 0
        engine.state.epoch_length = 1
        engine.run([0], max_epochs=epoch + 1)
        found.append(dict(engine.state.metrics))
    return found


def test_probes_every_few_epochs_and_keeps_nothing_stale(probed: Callable) -> None:
    engine, _ = probed(every=2, batch_size=5)
    found = run_epochs(engine, 4)
    assert [set(metrics) for metrics in found] == [{"probe_balanced_accuracy"}, set()] * 2
    assert found[0]["probe_balanced_accuracy"] == 1.0


@pytest.mark.parametrize(
    "settings", [{"labels": ["a"] * 12}, {"patients": ["p"] * 12}, {"patients": ["p", "q"] * 6, "every": 1}]
)
def test_without_enough_labels_nothing_is_added(
    probed: Callable, caplog: pytest.LogCaptureFixture, settings: dict
) -> None:
    caplog.set_level("INFO")
    engine, probe = probed(**settings)
    assert run_epochs(engine, 2) == [{}, {}]
    assert not probe.possible and caplog.text.count("no linear probe") == 1
