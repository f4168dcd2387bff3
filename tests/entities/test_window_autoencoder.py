"""The paper's entity encoder: windows to latents without noise, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder
from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.window_autoencoder import WindowAutoencoderLoss
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.entity_windows import graph_windows
from hmgdm_monai.transforms.superpixels import Superpixels


@pytest.fixture
def network(tiny: Any) -> WindowAutoencoder:
    return tiny.entities("window_autoencoder")


@pytest.fixture
def windows() -> Tensor:
    return torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def graphs(stained: Callable) -> list[EntityGraph]:
    """Of two tiles, one of which is of one color."""
    tiles = [np.ascontiguousarray(stained(64, 64).transpose(2, 0, 1)), np.full((3, 64, 64), 90, np.uint8)]
    return [build_entity_graph(tile, Superpixels(12)(tile)) for tile in tiles]


def test_entities_get_the_latents_of_their_windows(network: WindowAutoencoder, graphs: list[EntityGraph]) -> None:
    batch = Batch.from_data_list(graphs)
    found = network(batch)
    for latents, windows in zip(found, graph_windows(batch, 8), strict=True):
        assert latents.shape == (len(windows), network.latent_dim)
        torch.testing.assert_close(latents, network.encode(windows))
    alone = [network(graph) for graph in graphs]
    assert alone[1][1].shape == (0, network.latent_dim)
    for kind in (0, 1):
        torch.testing.assert_close(found[kind], torch.cat([latents[kind] for latents in alone]))


def test_without_edge_latents_edges_get_none(tiny: Any, network: WindowAutoencoder, graphs: list[EntityGraph]) -> None:
    vertices, edges = tiny.entities("window_autoencoder", edge_latents=False)(graphs[0])
    assert edges is None
    torch.testing.assert_close(vertices, network(graphs[0])[0])


def test_a_latent_graph_keeps_its_topology_and_not_its_image(
    network: WindowAutoencoder, graphs: list[EntityGraph]
) -> None:
    latents = network.latent_graph(graphs[0])
    assert "image" in graphs[0] and "image" not in latents and "vertex_latents" not in graphs[0]
    assert torch.equal(latents.pos, graphs[0].pos) and torch.equal(latents.edge_index, graphs[0].edge_index)
    assert latents.edge_latents.shape == (graphs[0].edge_index.shape[1], network.latent_dim)


def test_encoding_is_without_noise_and_row_by_row(network: WindowAutoencoder, windows: Tensor) -> None:
    network.train()  # even so: encode takes the mean
    latents = network.encode(windows)
    assert torch.equal(latents, network.encode(windows))
    torch.testing.assert_close(latents[3:5], network.encode(windows[3:5]))
    assert not torch.allclose(latents[0], latents[1])


def test_decoded_windows_are_pixels(network: WindowAutoencoder) -> None:
    decoded = network.decode(20.0 * torch.randn(10, network.latent_dim))
    assert decoded.shape == (10, 3, 8, 8)
    assert decoded.min() >= 0.0 and decoded.max() <= 1.0


def test_training_samples_and_evaluation_does_not(network: WindowAutoencoder, windows: Tensor) -> None:
    def draw(seed: int) -> Tensor:
        return network.reconstruct(windows, torch.Generator().manual_seed(seed)).reconstruction

    assert torch.equal(draw(0), draw(1))
    torch.testing.assert_close(draw(0).clamp(0, 1), network.decode(network.encode(windows)))
    network.train()
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_a_window_gets_the_same_noise_on_whichever_rank_it_is(network: WindowAutoencoder, windows: Tensor) -> None:
    network.train()
    whole = network.reconstruct(windows, torch.Generator().manual_seed(0)).reconstruction
    mine = torch.arange(12) % 3 == 1
    part = network.reconstruct(windows[mine], torch.Generator().manual_seed(0), mine).reconstruction
    torch.testing.assert_close(part, whole[mine])


def test_kl_is_that_of_diagonal_gaussians(network: WindowAutoencoder, windows: Tensor) -> None:
    from torch.distributions import Normal, kl_divergence

    posterior = network.network.encode(windows.float() / 127.5 - 1.0).latent_dist
    expected = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0)).flatten(1).sum(1).mean()
    assert network.reconstruct(windows).kl.item() == pytest.approx(expected.item(), rel=1e-4)


def test_every_parameter_learns(tiny: Any, windows: Tensor) -> None:
    network, loss = tiny.entities("window_autoencoder").requires_grad_(True).train(), WindowAutoencoderLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    before = {name: value.clone() for name, value in network.named_parameters()}
    losses = []
    for step in range(8):
        output = network.reconstruct(windows, torch.Generator().manual_seed(step))
        losses.append(loss(output.reconstruction, windows.float() / 255, output.kl))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert [name for name, value in network.named_parameters() if torch.equal(value, before[name])] == []


def test_the_digest_is_of_weights_window_and_edges(tiny: Any, network: WindowAutoencoder) -> None:
    same = tiny.entities("window_autoencoder")
    assert network.digest() == same.digest() == same.train().digest()
    others = [tiny.entities("window_autoencoder", **kind) for kind in ({"window_px": 6}, {"edge_latents": False})]
    with torch.no_grad():
        next(same.parameters()).add_(1e-3)
    assert len({network.digest(), same.digest(), *(other.digest() for other in others)}) == 4


def test_each_width_after_the_first_halves_the_side() -> None:
    network = WindowAutoencoder(window_px=16, widths=(8, 16, 8), latent_channels=3, edge_latents=False)
    assert network.latent_shape == (3, 4, 4) and network.latent_dim == 48
    assert network.settings == {"window_px": 16, "widths": [8, 16, 8], "latent_channels": 3, "edge_latents": False}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"window_px": 18, "widths": (8, 8, 8)}, "multiple of 4 with 3 widths, got 18"),
        ({"window_px": 0, "widths": (8,)}, "multiple of 1"),
        ({"widths": (12,)}, "multiples of 8"),
        ({"widths": ()}, "multiples of 8"),
        ({"latent_channels": 0}, "latent_channels must be at least 1"),
    ],
)
def test_what_cannot_be_built_says_so(settings: dict, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        WindowAutoencoder(**settings)
    assert "\n" not in str(caught.value)


def test_windows_of_another_size_are_refused(network: WindowAutoencoder) -> None:
    with pytest.raises(ValueError, match=r"\(3, 8, 8\), got \(3, 16, 16\)"):
        network.encode(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
