"""Latents of entities are pooled maps of all backbones; windows share nothing; the digest tells of all that counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.backbone_entities import BackboneEntities
from hmgdm_monai.entities.pooling import pool_over_superpixels
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.entities_file import load_entities, save_entities
from hmgdm_monai.transforms.region_adjacency import centroids_px, region_adjacency

SIDE = 64
EFFICIENTNET = {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None}
SEGRESNET = {"name": "segresnet_he", "blocks": [0, 1]}


@pytest.fixture
def tile(stained: Callable[[int, int], np.ndarray]) -> EntityGraph:
    """A tile of 64 px with 4 x 4 superpixels of 16 px."""
    return graph_of(stained(SIDE, SIDE), np.kron(np.arange(16).reshape(4, 4), np.ones((16, 16), int)))


def graph_of(image: np.ndarray, labels: np.ndarray) -> EntityGraph:
    return EntityGraph(
        pos=torch.from_numpy(centroids_px(labels) / SIDE).float(),
        edge_index=torch.from_numpy(region_adjacency(labels)),
        image=torch.from_numpy(image.copy()).permute(2, 0, 1)[None],
        label_map=torch.from_numpy(labels.astype(np.int32))[None],
    )


def build(backbones: Any = None, **settings: Any) -> BackboneEntities:
    torch.manual_seed(0)
    return BackboneEntities(backbones or EFFICIENTNET, published=False, **settings)


def test_latents_are_pooled_maps(tile: EntityGraph) -> None:
    entities = build()
    vertices, edges = entities(tile)
    assert vertices.shape == (16, 24) and edges is not None and edges.shape == (24, 24)
    maps = entities.backbones[0].maps(tile.image.float())
    expected = pool_over_superpixels(maps, tile.label_map, tile.vertex_batch, tile.pos, tile.edge_index, 2)
    for found, one in zip((vertices, edges), expected, strict=True):
        assert torch.allclose(found, one, atol=1e-4)
    # A superpixel of 16 px is 4 x 4 cells of stride 4.
    assert torch.allclose(vertices[5], maps[0][0, :, 4:8, 4:8].mean((1, 2)), atol=1e-4)


@pytest.mark.parametrize("view", ["tile", "window"])
def test_backbones_stand_side_by_side(tile: EntityGraph, view: str) -> None:
    both = build([EFFICIENTNET, SEGRESNET], view=view, window_px=16)
    found = both(tile)
    assert both.latent_dim == 24 + 16 + 32 == found[0].shape[1]
    start = 0
    for number, one in enumerate((EFFICIENTNET, SEGRESNET)):
        alone = build(one, view=view, window_px=16)
        alone.backbones[0].load_state_dict(both.backbones[number].state_dict())
        for ours, theirs in zip(found, alone(tile), strict=True):
            assert torch.allclose(ours[:, start : start + alone.latent_dim], theirs, atol=1e-5)
        start += alone.latent_dim


@pytest.mark.parametrize("view", ["tile", "window"])
def test_a_batch_equals_its_graphs(tile: EntityGraph, stained: Callable[..., np.ndarray], view: str) -> None:
    entities = build(SEGRESNET, view=view, window_px=16)
    labels = np.zeros((SIDE, SIDE), int)
    labels[:, 40:] = 1
    other = graph_of(stained(SIDE, 2 * SIDE)[SIDE:], labels)
    vertices, edges = entities(Batch.from_data_list([tile, other]))
    for found, parts in zip((vertices, edges), zip(entities(tile), entities(other), strict=True), strict=True):
        assert torch.allclose(found, torch.cat(parts), atol=1e-5)


def test_windows_share_nothing(tile: EntityGraph) -> None:
    changed = tile.clone()
    changed.image = changed.image.clone()
    changed.image[:, :, :, 32:] = 255 - changed.image[:, :, :, 32:]
    ends = tile.pos[tile.edge_index]
    left_vertices = tile.pos[:, 0] * SIDE + 8 <= 32  # windows of 16 px end there
    left_edges = ends.mean(0)[:, 0] * SIDE + 8 <= 32
    assert left_vertices.any() and left_edges.any() and not left_vertices.all()
    windows = build(view="window", window_px=16)
    for before, after, left in zip(windows(tile), windows(changed), (left_vertices, left_edges), strict=True):
        same = (before == after).all(1)
        assert torch.equal(same, left)
    whole = build(view="tile")
    before, after = whole(tile)[0], whole(changed)[0]
    assert not torch.equal(before[left_vertices], after[left_vertices])  # the receptive field reaches over


def test_one_superpixel_without_edges(stained: Callable[..., np.ndarray]) -> None:
    graph = graph_of(stained(SIDE, SIDE), np.zeros((SIDE, SIDE), int))
    entities = build(SEGRESNET)
    vertices, edges = entities(graph)
    maps = entities.backbones[0].maps(graph.image.float())
    assert torch.allclose(vertices[0], torch.cat([one.mean((2, 3))[0] for one in maps]), atol=1e-5)
    assert edges is not None and edges.shape == (0, entities.latent_dim)
    vertices, edges = build(SEGRESNET, view="window", window_px=16)(graph)
    assert vertices.shape == (1, 48) and edges is not None and edges.shape == (0, 48)


def test_without_edge_latents_there_are_none(tile: EntityGraph) -> None:
    for view in ("tile", "window"):
        entities = build(SEGRESNET, edge_latents=False, view=view, window_px=16)
        assert entities(tile)[1] is None
        latents = entities.latent_graph(tile)
        assert "edge_latents" not in latents and "image" not in latents
        assert latents.vertex_latents.shape == (16, 48) and "image" in tile


def test_the_digest_tells_of_settings_and_weights() -> None:
    entities = build()
    again = BackboneEntities(**json.loads(json.dumps(dict(entities.settings))), published=False)
    again.load_state_dict(entities.state_dict())
    assert again.digest() == entities.digest()
    others = [
        build(edge_latents=False),
        build(view="window"),
        build(window_px=32),
        build(seam_px=3),
        build({**EFFICIENTNET, "resize_px": 128}),
        build([EFFICIENTNET, SEGRESNET]),
        build([SEGRESNET, EFFICIENTNET]),
    ]
    assert len({one.digest() for one in (entities, *others)}) == 1 + len(others)
    next(again.parameters()).mul_(1.001)
    assert again.digest() != entities.digest()


def test_a_file_gives_the_same_latents(tile: EntityGraph, tmp_path) -> None:  # type: ignore[no-untyped-def]
    entities = build([EFFICIENTNET, SEGRESNET], seam_px=3)
    save_entities(tmp_path / "entities.pt", entities)
    loaded = load_entities(tmp_path / "entities.pt")
    assert loaded.digest() == entities.digest() and loaded.settings == entities.settings
    for ours, theirs in zip(loaded(tile), entities(tile), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"view": "tiles"}, "backbone_entities: view must be one of tile, window, not 'tiles'"),
        ({"seam_px": 0}, "seam_px must be at least 1"),
        ({"window_px": 7}, "window_px at least 8"),
        ({"backbones": []}, "give at least one"),
        ({"backbones": ["efficientnet_lite0", "efficientnet_lite9"]}, "no backbone 'efficientnet_lite9'"),
    ],
)
def test_bad_settings_are_named_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        BackboneEntities(**{"backbones": EFFICIENTNET, **settings}, published=False)
    assert "\n" not in str(error.value)
