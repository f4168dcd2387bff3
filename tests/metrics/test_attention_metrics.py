"""The Ignite metric: means of the functions, in batches of any order, with what an engine gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.handlers import from_engine

from hmgdm_monai.metrics.attention import gini, head_cosine, mass_share, normalized_entropy, region_mass_ratio
from hmgdm_monai.metrics.attention_metrics import AttentionMetrics

NAMES = ("background", "tissue", "cell")


def data(count: int = 6, heads: int = 2, tokens: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    weights = torch.softmax(2 * torch.randn(count, heads, tokens, generator=draw), -1)
    regions = torch.rand(count, tokens, 3, generator=draw)
    regions = regions / regions.sum(-1, keepdim=True)
    regions[::2, :, 2] = 0
    return weights, regions


def run(batches: list[Any], metric: AttentionMetrics) -> dict[str, float]:
    engine = Engine(lambda engine, batch: batch)
    metric.attach(engine, "attention")
    return engine.run(batches).metrics


def test_means_over_images_under_their_own_names() -> None:
    weights, regions = data()
    metrics = run([(weights[:4], regions[:4]), (weights[4:], regions[4:])], AttentionMetrics(NAMES))
    ratio = region_mass_ratio(weights, regions).mean(1)
    expected = {
        "attention_entropy": normalized_entropy(weights).mean(),
        "attention_gini": gini(weights).mean(),
        "attention_share_60": mass_share(weights).mean(),
        "attention_head_cosine": head_cosine(weights).mean(),
        "attention_on_background": ratio[:, 0].mean(),
        "attention_on_tissue": ratio[:, 1].mean(),
        "attention_on_cell": ratio[1::2, 2].mean(),  # the others have none
    }
    assert metrics == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-12)
    assert all(type(value) is float for value in metrics.values())


def test_order_and_size_of_batches_do_not_matter() -> None:
    weights, regions = data()
    one = run([(weights, regions)], AttentionMetrics(NAMES))
    other = run([(weights[i : i + 2], regions[i : i + 2]) for i in (4, 0, 2)], AttentionMetrics(NAMES))
    assert other == pytest.approx(one, rel=1e-12)


def test_decollated_outputs_of_a_monai_engine() -> None:
    weights, regions = data()
    items = [{"attention": w, "token_weights": r} for w, r in zip(weights, regions, strict=True)]
    metric = AttentionMetrics(NAMES, output_transform=from_engine(["attention", "token_weights"]))
    assert run([items[:2], items[2:]], metric) == pytest.approx(run([(weights, regions)], AttentionMetrics(NAMES)))


def test_graphs_of_unequal_size_by_image_with_areas() -> None:
    draw = torch.Generator().manual_seed(1)
    gates = [torch.rand(n, generator=draw) for n in (3, 7, 5)]
    areas = [1 + torch.rand(n, generator=draw) for n in (3, 7, 5)]
    metrics = run([(gates, None, areas)], AttentionMetrics())
    expected = [float(gini(g[None, None], a[None])) for g, a in zip(gates, areas, strict=True)]
    assert metrics["attention_gini"] == pytest.approx(sum(expected) / 3)
    assert "attention_head_cosine" not in metrics  # a gate is one head
    assert run([gates], AttentionMetrics())["attention_entropy"] == pytest.approx(
        sum(float(normalized_entropy(g[None, None])) for g in gates) / 3
    )


def test_attention_alone_without_regions() -> None:
    weights, _ = data()
    metrics = run([weights], AttentionMetrics(NAMES, mass=0.5))
    assert set(metrics) == {f"attention_{name}" for name in ("entropy", "gini", "share_50", "head_cosine")}
    assert metrics["attention_share_50"] == pytest.approx(float(mass_share(weights, 0.5).mean()))


def test_every_epoch_starts_anew() -> None:
    weights, regions = data()
    metric = AttentionMetrics(NAMES)
    metric.update((weights[:3], regions[:3]))
    metric.reset()
    metric.update((weights[3:], regions[3:]))
    assert metric.compute() == pytest.approx(run([(weights[3:], regions[3:])], AttentionMetrics(NAMES)))


def test_nothing_seen_and_bad_input() -> None:
    with pytest.raises(NotComputableError, match="no image"):
        AttentionMetrics().compute()
    with pytest.raises(ValueError, match="mass"):
        AttentionMetrics(mass=2)
    with pytest.raises(ValueError, match="3 regions for 1 names"):
        AttentionMetrics(("cell",)).update(data())
