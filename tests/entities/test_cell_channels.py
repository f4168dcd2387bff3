"""Size, shape and stain of entities: a drawn ellipse, scikit-image's own measures, and any scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from skimage.measure import regionprops
from torch_geometric.data import Batch

from hmgdm_monai.entities.backbone_entities import BackboneEntities
from hmgdm_monai.entities.cell_channels import SHAPE_CHANNELS, graph_shape_channels, shape_channels
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.stain import LIGHT, REFERENCE_STAINS

DIAMETER, PERIMETER, RATIO, SOLIDITY, H_MEAN, H_STD, E_MEAN, E_STD = range(len(SHAPE_CHANNELS))
GRAY = np.full((200, 200, 3), 128, np.uint8)


def ellipse(a: float, b: float, turn: float, size: int = 200) -> np.ndarray:
    """(size, size) int32: 0 within half axes a and b px, -1 elsewhere."""
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return np.where((u / a) ** 2 + (v / b) ** 2 <= 1, 0, -1).astype(np.int32)


@pytest.mark.parametrize("mpp", [0.25, 1.0])
@pytest.mark.parametrize("turn", [0.0, 0.4, math.pi / 4])
def test_a_drawn_ellipse(turn: float, mpp: float) -> None:
    a, b = 60.0, 30.0
    found = shape_channels(ellipse(a, b, turn), GRAY, mpp)[0]
    h = ((a - b) / (a + b)) ** 2
    perimeter = math.pi * (a + b) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))  # Ramanujan
    assert found[DIAMETER] == pytest.approx(2 * math.sqrt(a * b) * mpp, rel=0.01)
    assert found[PERIMETER] == pytest.approx(perimeter * mpp, rel=0.02)
    assert found[RATIO] == pytest.approx(0.5, rel=0.01)
    assert found[SOLIDITY] == pytest.approx(1.0, abs=0.03)  # the steps of its outline


def test_measures_are_those_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    labels = np.full((90, 90), -1, np.int32)
    for number in range(9):  # blobs that touch the border and each other
        y, x = np.mgrid[:90, :90]
        cy, cx, a, b = *rng.uniform(0, 90, 2), *rng.uniform(4, 20, 2)
        labels[((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 + 0.3 * rng.normal(size=(90, 90)) < 1] = number
    labels = np.where(labels >= 0, np.unique(labels, return_inverse=True)[1].reshape(90, 90) - 1, -1).astype(np.int32)
    found = shape_channels(labels, GRAY[:90, :90], 0.5)
    for one in regionprops(labels + 1):
        channels = found[one.label - 1]
        assert channels[DIAMETER] == pytest.approx(one.equivalent_diameter_area * 0.5, rel=1e-5)
        assert channels[PERIMETER] == pytest.approx(one.perimeter_crofton * 0.5, rel=1e-5)
        assert channels[RATIO] == pytest.approx(one.axis_minor_length / one.axis_major_length, abs=0.02)
        rows, columns = one.coords.T
        corners = np.concatenate([np.stack([rows + i, columns + j], 1) for i in (0, 1) for j in (0, 1)])
        assert channels[SOLIDITY] == pytest.approx(one.area / ConvexHull(corners).volume, rel=1e-5)


def test_a_hollow_shape_is_less_solid_and_a_pixel_is_a_square() -> None:
    labels = np.full((20, 20), -1, np.int32)
    labels[2:12, 2:4] = 0  # an L of two arms, 10 px long and 2 px wide
    labels[10:12, 2:12] = 0
    labels[15, 15] = 1
    found = shape_channels(labels, GRAY[:20, :20], 1.0)
    assert found[0, SOLIDITY] == pytest.approx(36 / 68, rel=1e-5)  # the hull is a square less a corner of 8 x 8 / 2
    assert found[1, [DIAMETER, RATIO, SOLIDITY]] == pytest.approx([2 / math.sqrt(math.pi), 1, 1], rel=1e-5)
    assert np.isfinite(found).all()


def test_stain_of_each_cell() -> None:
    labels = np.repeat([[-1, 0, 1, -1]], 10, axis=1).reshape(1, 40).repeat(8, axis=0).astype(np.int32)
    hematoxylin, eosin = np.zeros((8, 40)), np.full((8, 40), 0.5)
    hematoxylin[labels == 0] = 1.0
    hematoxylin[4:][labels[4:] == 1] = 0.8  # half of the second cell
    eosin[labels == 1] = 0.2
    light = LIGHT * np.exp(-np.einsum("cs,shw->hwc", REFERENCE_STAINS, np.stack([hematoxylin, eosin]))) - 1
    found = shape_channels(labels, np.rint(light).astype(np.uint8), 1.0)
    assert found[:, H_MEAN] == pytest.approx([1.0, 0.4], abs=0.03)
    assert found[:, H_STD] == pytest.approx([0.0, 0.4], abs=0.03)
    assert found[:, E_MEAN] == pytest.approx([0.5, 0.2], abs=0.03)
    assert found[:, E_STD] == pytest.approx([0.0, 0.0], abs=0.05)


def graph(seed: int, mpp: float | None = 0.5):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    labels = np.full((1, 32, 32), -1, np.int32)
    for number, (y, x) in enumerate([(1, 2), (3, 20), (20, 4), (18, 18)][: 2 + seed % 3]):
        labels[0, y : y + 5 + seed, x : x + 6] = number
    count = labels.max() + 1
    edges = np.stack([np.zeros(count - 1, int), np.arange(1, count)])
    return build_entity_graph(image, labels, edge_index=edges, mpp=mpp)


def test_a_batch_is_its_tiles_and_edges_are_the_mean_of_their_ends() -> None:
    graphs = [graph(0), graph(1, 1.0), graph(2)]
    vertices, edges = graph_shape_channels(Batch.from_data_list(graphs))
    alone = [graph_shape_channels(one) for one in graphs]
    assert torch.equal(vertices, torch.cat([one[0] for one in alone]))
    assert torch.equal(edges, torch.cat([one[1] for one in alone]))
    first, second = graphs[2].edge_index
    assert torch.allclose(alone[2][1], (alone[2][0][first] + alone[2][0][second]) / 2)


@pytest.mark.parametrize("view", ["tile", "window"])
def test_they_follow_the_channels_of_a_backbone(view: str) -> None:
    settings = {
        "backbones": {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None},
        "view": view,
        "window_px": 16,
    }
    plain, shaped = (BackboneEntities(**settings, shape_channels=on, published=False).eval() for on in (False, True))
    shaped.load_state_dict(plain.state_dict())
    batch = Batch.from_data_list([graph(0), graph(1)])
    with torch.inference_mode():
        (vertices, edges), (more, more_edges) = plain(batch), shaped(batch)
    channels = graph_shape_channels(batch)
    assert shaped.latent_dim == plain.latent_dim + 8 == more.shape[1] == more_edges.shape[1]
    assert torch.equal(more, torch.cat((vertices, channels[0]), 1))
    assert torch.equal(more_edges, torch.cat((edges, channels[1]), 1))
    assert plain.digest() != shaped.digest()
    assert dict(shaped.settings)["shape_channels"] is True


def test_an_unknown_scale_is_told() -> None:
    for tiles in ([graph(0, None)], [graph(0), graph(1, None)]):
        with pytest.raises(InputError, match="set shape_channels false"):
            graph_shape_channels(Batch.from_data_list(tiles))
