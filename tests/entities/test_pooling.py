"""Pooling equals a count pixel by pixel, on any grid; it follows the tile, and not the order of entities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hmgdm_monai.entities.pooling import pool_over_superpixels, seam_shares, superpixel_shares
from hmgdm_monai.transforms.region_adjacency import centroids_px, number_by_first_pixel, region_adjacency

# Of a tile of 12 x 18 px: cells of whole pixels, cells that end inside pixels, cells smaller than a pixel, one cell.
GRIDS = [(4, 6), (5, 7), (12, 18), (30, 25), (24, 36), (1, 1), (7, 2)]
HEIGHT, WIDTH = 12, 18


def draw_labels(seed: int, count: int = 7, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(H, W), regions around random points, labels from 0 without gaps."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, (height, width), (count, 2))
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows[..., None] - points[:, 0], columns[..., None] - points[:, 1])
    return number_by_first_pixel(distance.argmin(-1))


def overlaps(pixels: int, cells: int) -> np.ndarray:
    """(cells, pixels), the part of each pixel that lies in each cell of an axis."""
    parts = np.zeros((cells, pixels))
    for cell in range(cells):
        for pixel in range(pixels):
            low, high = cell * pixels / cells, (cell + 1) * pixels / cells
            parts[cell, pixel] = max(0.0, min(high, pixel + 1) - max(low, pixel))
    return parts


def areas(labels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(V, h * w), what superpixel_shares must give for one tile."""
    rows, columns = overlaps(labels.shape[0], grid[0]), overlaps(labels.shape[1], grid[1])
    return np.stack([(rows @ (labels == one) @ columns.T).ravel() for one in range(labels.max() + 1)])


def seams(labels: np.ndarray, edges: np.ndarray, grid: tuple[int, int], seam_px: int) -> np.ndarray:
    """(E, h * w), what seam_shares must give for one tile: pair by pair."""
    height, width = labels.shape
    rows, columns = overlaps(height, grid[0]), overlaps(width, grid[1])
    found = np.zeros((edges.shape[1], *grid))
    for number, ends in enumerate(edges.T):
        for y in range(height):
            for x in range(width):
                for dy, dx in [(d, 0) for d in range(1, seam_px + 1)] + [(0, d) for d in range(1, seam_px + 1)]:
                    if y + dy < height and x + dx < width and {labels[y, x], labels[y + dy, x + dx]} == set(ends):
                        for row, column in ((y, x), (y + dy, x + dx)):
                            found[number] += np.outer(rows[:, row], columns[:, column])
    return found.reshape(edges.shape[1], -1)


class Tile:
    """One tile with its entities, and maps on several grids."""

    def __init__(self, seed: int, count: int = 7, height: int = HEIGHT, width: int = WIDTH) -> None:
        self.labels = draw_labels(seed, count, height, width)
        self.edges = region_adjacency(self.labels)
        self.pos = centroids_px(self.labels) / (width, height)
        generator = torch.Generator().manual_seed(seed)
        self.maps = [torch.randn(3, *grid, generator=generator) for grid in GRIDS]


def pool(tiles: list[Tile], seam_px: int | None = 2) -> tuple[Tensor, Tensor | None]:
    counts = [len(tile.pos) for tile in tiles]
    first = np.cumsum([0, *counts[:-1]])
    return pool_over_superpixels(
        [torch.stack(one) for one in zip(*(tile.maps for tile in tiles), strict=True)],
        torch.from_numpy(np.stack([tile.labels for tile in tiles])),
        torch.repeat_interleave(torch.arange(len(tiles)), torch.tensor(counts)),
        torch.from_numpy(np.concatenate([tile.pos for tile in tiles])).float(),
        torch.from_numpy(np.concatenate([tile.edges + n for tile, n in zip(tiles, first, strict=True)], axis=1)),
        seam_px,
    )


@pytest.mark.parametrize("grid", GRIDS)
def test_shares_are_areas(grid: tuple[int, int]) -> None:
    labels = np.stack([draw_labels(0), draw_labels(1, count=4)])
    labels[1, 3:6, :9] = -1
    shares = superpixel_shares(torch.from_numpy(labels), 7, grid)
    assert shares.shape == (2, 7, grid[0] * grid[1])
    for tile, one in zip(shares, labels, strict=True):
        expected = areas(one, grid)
        assert np.allclose(tile[: len(expected)], expected, atol=1e-4)
        assert not tile[len(expected) :].any()
        assert np.allclose(tile.sum(1), np.bincount(one[one >= 0], minlength=7), rtol=1e-5)


@pytest.mark.parametrize("seam_px", [1, 2, 3])
@pytest.mark.parametrize("grid", GRIDS)
def test_seams_are_pairs_of_pixels(grid: tuple[int, int], seam_px: int) -> None:
    labels = draw_labels(2)
    labels[4:7, 5:9] = -1
    edges = region_adjacency(draw_labels(2))
    found = seam_shares(
        torch.from_numpy(labels[None]), torch.from_numpy(edges), torch.zeros(edges.shape[1]).long(), 7, grid, seam_px
    )
    assert np.allclose(found, seams(labels, edges, grid, seam_px), atol=1e-4)
    assert found.any()


def test_a_seam_wider_than_the_tile_is_all_of_it() -> None:
    labels = torch.tensor([[[0, 1]]])
    found = seam_shares(labels, torch.tensor([[0], [1]]), torch.tensor([0]), 2, (1, 2), seam_px=9)
    assert found.tolist() == [[1.0, 1.0]]


def test_means_are_weighed_by_areas_and_seams() -> None:
    tile = Tile(3)
    vertices, edges = pool([tile])
    expected, expected_edges = [], []
    for one, grid in zip(tile.maps, GRIDS, strict=True):
        cells = one.flatten(1).T.double().numpy()
        for parts, into in (
            (areas(tile.labels, grid), expected),
            (seams(tile.labels, tile.edges, grid, 2), expected_edges),
        ):
            into.append(parts @ cells / parts.sum(1, keepdims=True))
    assert np.allclose(vertices, np.concatenate(expected, axis=1), atol=1e-5)
    assert np.allclose(edges, np.concatenate(expected_edges, axis=1), atol=1e-5)


def test_a_superpixel_smaller_than_a_cell_takes_its_value() -> None:
    tile = Tile(0)
    tile.labels = np.zeros((HEIGHT, WIDTH), np.int32)
    tile.labels[1, 8], tile.labels[2, 9] = 1, 2
    tile.edges, tile.pos = np.array([[0, 0], [1, 2]]), np.full((3, 2), 0.5)
    tile.maps = [torch.randn(3, 3, 2)]
    vertices, _ = pool([tile])
    assert torch.allclose(vertices[1], tile.maps[0][:, 0, 0], atol=1e-6)
    assert torch.allclose(vertices[2], tile.maps[0][:, 0, 1], atol=1e-6)


def test_what_is_no_entity_counts_nowhere() -> None:
    tile = Tile(4)
    tile.labels = tile.labels.copy()
    tile.labels[:6, :6] = -1
    tile.labels = np.where(tile.labels < 0, -1, number_by_first_pixel(tile.labels) - 1).astype(np.int32)
    tile.edges, tile.pos = region_adjacency(np.abs(tile.labels)), np.full((tile.labels.max() + 1, 2), 0.9)
    tile.maps = [torch.randn(3, 4, 6)]
    before = pool([tile])
    tile.maps = [tile.maps[0].clone()]
    tile.maps[0][:, :2, :2] = 100.0
    for one, other in zip(before, pool([tile]), strict=True):
        assert torch.equal(one, other)
    tile.maps[0][:, 2:, 2:] = 100.0
    assert not torch.equal(before[0], pool([tile])[0])


@pytest.mark.parametrize("turn", ["flip", "turn upside down", "rotate"])
def test_pooling_follows_the_tile(turn: str) -> None:
    tile, turned = Tile(5), Tile(5)
    if turn == "rotate":  # a quarter, against the clock
        turned.labels = np.rot90(tile.labels).copy()
        turned.maps = [torch.rot90(one, 1, (1, 2)) for one in tile.maps]
        turned.pos = np.stack([tile.pos[:, 1], 1 - tile.pos[:, 0]], axis=1)
    else:
        axis = 1 if turn == "flip" else 0
        turned.labels = np.flip(tile.labels, axis).copy()
        turned.maps = [one.flip(axis + 1) for one in tile.maps]
        turned.pos = np.where(np.arange(2) == 1 - axis, 1 - tile.pos, tile.pos)
    for one, other in zip(pool([tile]), pool([turned]), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_order_of_vertices_and_edges_does_not_matter() -> None:
    tile, other = Tile(6), Tile(6)
    rng = np.random.default_rng(0)
    names = rng.permutation(len(tile.pos))  # the new label of each
    order = rng.permutation(tile.edges.shape[1])
    other.labels, other.edges = names[tile.labels], names[tile.edges[::-1, order]]
    other.pos = tile.pos[np.argsort(names)]
    (vertices, edges), (named, ordered) = pool([tile]), pool([other])
    assert torch.allclose(vertices, named[names], atol=1e-6)
    assert torch.allclose(edges[order], ordered, atol=1e-6)


def test_a_batch_equals_its_tiles_one_by_one() -> None:
    lonely = Tile(9)
    lonely.labels[:], lonely.edges, lonely.pos = 0, np.zeros((2, 0), np.int64), np.full((1, 2), 0.5)
    tiles = [Tile(7), Tile(8, count=3), lonely, Tile(10, count=12)]
    vertices, edges = pool(tiles)
    alone = [pool([tile]) for tile in tiles]
    assert torch.allclose(vertices, torch.cat([one for one, _ in alone]), atol=1e-5)
    assert torch.allclose(edges, torch.cat([one for _, one in alone]), atol=1e-5)
    assert pool(tiles, seam_px=None)[1] is None


def test_edges_of_a_batch_may_come_in_any_order() -> None:
    labels = torch.from_numpy(np.stack([draw_labels(0), draw_labels(1)]))
    counts = [int(one.max()) + 1 for one in labels]
    pairs = [torch.from_numpy(region_adjacency(one.numpy())) for one in labels]
    edges = torch.cat((pairs[0], pairs[1] + counts[0]), dim=1)
    batch = torch.repeat_interleave(torch.arange(2), torch.tensor(counts))
    maps, pos = [torch.randn(2, 3, 5, 7)], torch.rand(sum(counts), 2)
    order = torch.randperm(edges.shape[1])
    _, sorted_ones = pool_over_superpixels(maps, labels, batch, pos, edges, 2)
    _, mixed = pool_over_superpixels(maps, labels, batch, pos, edges[:, order], 2)
    assert torch.allclose(sorted_ones[order], mixed, atol=1e-6)


@pytest.mark.parametrize("tiles", [1, 2])
def test_one_superpixel_without_edges(tiles: int) -> None:
    tile = Tile(0)
    tile.labels, tile.edges, tile.pos = np.zeros((HEIGHT, WIDTH), int), np.zeros((2, 0), int), np.full((1, 2), 0.5)
    vertices, edges = pool([tile] * tiles)
    assert torch.allclose(vertices[0], torch.cat([one.mean((1, 2)) for one in tile.maps]), atol=1e-5)
    assert edges is not None and edges.shape == (0, vertices.shape[1])


def test_hundreds_of_superpixels() -> None:
    tile = Tile(1, count=400, height=60, width=60)
    tile.maps = [torch.randn(4, 8, 8)]
    vertices, edges = pool([tile])
    parts = areas(tile.labels, (8, 8))
    cells = tile.maps[0].flatten(1).T.numpy()
    assert len(parts) > 300
    assert np.allclose(vertices, parts @ cells / parts.sum(1, keepdims=True), atol=1e-5)
    assert edges is not None and len(edges) == tile.edges.shape[1] and edges.isfinite().all()


def test_an_edge_whose_ends_do_not_touch_takes_the_cell_in_the_middle() -> None:
    tile = Tile(0)
    tile.labels = np.repeat(np.arange(3), 6)[None].repeat(HEIGHT, axis=0)
    tile.pos = centroids_px(tile.labels) / (WIDTH, HEIGHT) - (0, 0.2)
    tile.edges = np.array([[0, 0], [1, 2]])  # the second passes over the middle one
    tile.maps = [torch.randn(3, 4, 9)]
    _, edges = pool([tile])
    assert edges is not None
    assert torch.allclose(edges[1], tile.maps[0][:, 1, 4], atol=1e-6)
    assert torch.allclose(edges[0], tile.maps[0][:, :, 2:4].mean((1, 2)), atol=1e-6)
