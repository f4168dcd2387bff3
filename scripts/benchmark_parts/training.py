"""Cost of a training step of H-MGDM for growing batches; it should be linear in the batch size, not quadratic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from benchmark_parts.common import one_thread, spread, time_in_turns

PUBLISHED = "published code on a CPU: 0.29 s at batch 4, 10.2 s at batch 32, ratio 35"


def synthetic_graphs(count: int, vertices: int = 40, edges: int = 200, latent_dim: int = 424, seed: int = 0) -> list:
    """Return graphs of equal size with random latents, positions and distinct edges."""
    import torch

    from hmgdm_monai.data.entity_graph import EntityGraph

    generator = torch.Generator().manual_seed(seed)
    pairs = torch.combinations(torch.arange(vertices)).T
    return [
        EntityGraph(
            pos=torch.rand(vertices, 2, generator=generator),
            edge_index=pairs[:, torch.randperm(pairs.shape[1], generator=generator)[:edges]],
            vertex_latents=torch.randn(vertices, latent_dim, generator=generator),
            edge_latents=torch.randn(edges, latent_dim, generator=generator),
        )
        for _ in range(count)
    ]


def measure_training(
    batch_sizes: Sequence[int] = (4, 16, 32),
    hidden_dim: int = 64,
    repeats: int = 15,
    vertices: int = 40,
    edges: int = 200,
) -> dict[int, dict[str, np.ndarray | int]]:
    """Time whole training steps of the default network alternately, on one thread.

    A step is split, noise, forward, backward, clipping and Adam.

    Args:
        batch_sizes: numbers of graphs per step; the first is the reference of the ratios.
        hidden_dim: D.
        repeats: number of rounds.
        vertices: number of vertices per graph.
        edges: number of edges per graph.

    Returns:
        For each batch size, ``seconds`` and ``ratio`` to the first size in the same round, (repeats,) each, and
        ``bytes``, which autograd keeps for the backward pass, without weights: the part of peak memory that grows.
    """
    import torch
    from diffusers import DDPMScheduler
    from torch_geometric.data import Batch

    from hmgdm_monai.diffusion.noising import Noising
    from hmgdm_monai.losses.masked_graph import MaskedGraphLoss
    from hmgdm_monai.networks.methods.build import build_hmgdm

    graphs = synthetic_graphs(max(batch_sizes), vertices, edges)
    torch.manual_seed(0)
    network = build_hmgdm(graphs[0].vertex_latents.shape[1], hidden_dim, num_layers=2, self_attention_depth=1)
    loss = MaskedGraphLoss(kl_weight=0.0)
    scheduler = DDPMScheduler(1000, 1e-7, 0.02, "sigmoid", prediction_type="sample", clip_sample=False)
    noising, optimizer = Noising(scheduler), torch.optim.Adam(network.parameters(), 1e-4)
    batches = {size: Batch.from_data_list(graphs[:size]) for size in batch_sizes}

    def step(size: int) -> None:
        optimizer.zero_grad()
        loss(*network(batches[size], noising)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()

    def kept_bytes(size: int) -> int:
        weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss(*network(batches[size], noising))
        return sum(kept.values())

    with one_thread():
        seconds = time_in_turns({str(size): lambda size=size: step(size) for size in batch_sizes}, repeats)
        return {
            size: {
                "seconds": seconds[str(size)],
                "ratio": seconds[str(size)] / seconds[str(batch_sizes[0])],
                "bytes": kept_bytes(size),
            }
            for size in batch_sizes
        }


def main() -> None:
    """Print times and ratios with their spread."""
    results = measure_training()
    first = next(iter(results))
    for size, r in results.items():
        line = f"batch {size}: {spread(r['seconds'], 3)} s a step, {r['bytes'] / 2**20:.0f} MiB kept for backward"
        if size != first:
            memory = r["bytes"] / results[first]["bytes"]
            line += f"; to batch {first}: time {spread(r['ratio'])}, memory {memory:.1f}, linear {size / first:.0f}"
        print(line)
    print(f"40 vertices and 200 edges a graph, both with latents, hidden 64, 2 layers, one thread ({PUBLISHED})")
