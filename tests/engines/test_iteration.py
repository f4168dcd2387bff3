"""One training or validation step: its randomness, its gradients, its errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch import nn
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.engines.window_autoencoder_iteration import WindowAutoencoderIteration
from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.window_autoencoder import WindowAutoencoderLoss
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.entity_windows import graph_windows


def validated(stage: SimpleNamespace) -> float:
    stage.evaluator.run(1)
    return stage.evaluator.state.metrics["val_loss"]


def test_validation_of_the_same_weights_is_the_same(toy_stage: Callable) -> None:
    stage = toy_stage()
    first = validated(stage)
    torch.manual_seed(99)
    assert validated(stage) == first
    stage.evaluator.run(7)
    assert stage.evaluator.state.metrics["val_loss"] == first
    assert validated(toy_stage(seed=1)) != first  # another split, another noise


def test_validation_leaves_weights_and_gradients(toy_stage: Callable) -> None:
    stage = toy_stage()
    before = {name: value.clone() for name, value in stage.network.state_dict().items()}
    validated(stage)
    assert all(torch.equal(value, before[name]) for name, value in stage.network.state_dict().items())
    assert all(p.grad is None for p in stage.network.parameters())


def test_training_draws_anew_at_every_step(toy_stage: Callable) -> None:
    stage = toy_stage(1, lr=0.0, batch_size=12)  # the weights stay and the batch is always all there is
    losses = []
    stage.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[0]["loss"]))
    )
    stage.trainer.state.max_epochs = 3
    stage.trainer.run()
    assert len(set(losses)) == 3


def deterministic(stage: SimpleNamespace) -> SimpleNamespace:
    """Swap the loss for one that averages over graphs and draws nothing."""

    def compute(network, batch, generator):
        values = network.encoder.vertex_in(batch.vertex_latents).square().mean(-1)
        per_graph = values.view(batch.num_graphs, -1).mean(1)
        return per_graph.mean(), per_graph.detach().unsqueeze(1)

    stage.iteration.compute = compute
    return stage


def test_accumulating_two_batches_is_one_batch_of_twice_the_size(toy_stage: Callable, tmp_path: Path) -> None:
    """Exactly so for a loss that averages over graphs; the diffusion loss averages over hidden entities, of which
    batches hold different numbers, and draws other noise."""
    both = []
    for name, settings in (("a", {"batch_size": 4, "accumulation_steps": 2}), ("b", {"batch_size": 8})):
        stage = deterministic(toy_stage(1, path=tmp_path / f"{name}.pt", max_grad_norm=None, **settings))
        # Twelve graphs: 4 + 4, and 4 that are alone; 8, and 4 that are alone. Only the first step is alike.
        steps: list = []
        stepped = stage.optimizer.step

        def step(*args, stage=stage, steps=steps, stepped=stepped, **kwargs):
            steps.append([p.grad.clone() for p in stage.network.encoder.vertex_in.parameters()])
            return stepped(*args, **kwargs)

        stage.optimizer.step = step
        stage.trainer.run()
        assert len(steps) == 2
        both.append(steps[0])
    for ours, theirs in zip(*both, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_gradients_are_clipped(toy_stage: Callable, tmp_path: Path) -> None:
    norms = {}
    for limit in (None, 0.01):
        stage = toy_stage(1, path=tmp_path / f"{limit}.pt", max_grad_norm=limit, batch_size=12)
        stage.trainer.run()
        grads = [p.grad.norm() for p in stage.network.parameters() if p.grad is not None]
        norms[limit] = float(torch.stack(grads).norm())
    assert norms[0.01] == pytest.approx(0.01, rel=1e-3) and norms[None] > 0.1


@pytest.mark.parametrize("during", ["training", "validation"])
def test_a_loss_that_is_no_number_ends_with_one_line(toy_stage: Callable, during: str) -> None:
    stage = toy_stage()
    with torch.no_grad():
        next(stage.network.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match="became nan in epoch 1, iteration 1; lower the learning rate") as caught:
        (stage.trainer if during == "training" else stage.evaluator).run()
    assert "\n" not in str(caught.value)
    assert ("validation loss" in str(caught.value)) == (during == "validation")


class Echo(nn.Module):
    """Stands for a window autoencoder: hands back the windows that it was given."""

    window_px = 4

    def __init__(self, edge_latents: bool = True) -> None:
        super().__init__()
        self.edge_latents = edge_latents

    def reconstruct(self, windows, generator, among):
        assert windows.dtype == torch.uint8
        values = windows.float() / 255
        return SimpleNamespace(reconstruction=values, kl=values.sum() * 0, latents=values.flatten(1))


def noisy_graph(side: int, seed: int) -> EntityGraph:
    """Squares of 4 px in a tile of noise; of all vertices and edges no two have the same window."""
    rows = np.arange(side) // 4
    labels = (rows[:, None] * (side // 4) + rows).astype(np.int32)[None]
    return build_entity_graph(np.random.default_rng(seed).integers(0, 256, (3, side, side), dtype=np.uint8), labels)


@pytest.mark.parametrize("edges", [True, False])
def test_windows_are_drawn_without_return_from_all_entities_that_have_one(edges: bool) -> None:
    tiles = [noisy_graph(16, 0), noisy_graph(16, 1)]
    batch = Batch.from_data_list(tiles)
    everything = torch.cat([part for part in graph_windows(batch, 4, edges) if part is not None]).flatten(1).float()
    assert len(everything) == len(everything.unique(dim=0)) == 2 * (16 + 24 * edges)
    for windows_per_tile, count in ((4, 8), (1000, len(everything))):
        iteration = WindowAutoencoderIteration(lambda *parts: parts[0].mean(), windows_per_tile=windows_per_tile)
        _, latents = iteration.compute(Echo(edges), batch, torch.Generator().manual_seed(0))
        assert len(latents) == len(latents.unique(dim=0)) == count
        assert latents.min() >= 0 and latents.max() <= 1
    assert torch.equal(latents.unique(dim=0), (everything / 255).unique(dim=0))


def test_the_loss_of_windows_is_that_of_the_loss_module() -> None:
    iteration = WindowAutoencoderIteration(WindowAutoencoderLoss(), windows_per_tile=4)
    loss, _ = iteration.compute(Echo(), Batch.from_data_list([noisy_graph(16, 0)]), torch.Generator().manual_seed(0))
    assert loss.item() == 0.0  # what it hands back is what it was given


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_mixed_precision_trains_like_full_precision(toy_stage: Callable, tmp_path: Path) -> None:
    losses = []
    for amp in (False, True):
        stage = toy_stage(3, device="cuda", amp=amp, path=tmp_path / f"{amp}.pt")
        stage.trainer.run()
        losses.append([record["loss"] for record in stage.checkpoint.history])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
