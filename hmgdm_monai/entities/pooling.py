"""Average feature maps over superpixels and over the seams between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def superpixel_shares(label_map: Tensor, num_labels: int, grid: tuple[int, int]) -> Tensor:
    """Area of the intersection of each superpixel with each cell of a feature map.

    A map of h x w cells covers the whole tile. A pixel that lies in several cells is divided between them, so the areas
    of a superpixel sum to its number of pixels on any grid.

    Args:
        label_map: (B, H, W) integer, labels 0 to V - 1 of each tile; -1 for no entity.
        num_labels: largest number of labels in a tile, V.
        grid: size (h, w) of the feature map.

    Returns:
        (B, V, h * w) float32, in px.
    """
    batch, height, width = label_map.shape
    cells = grid[0] * grid[1]
    shares = label_map.new_zeros(batch * num_labels * cells + 1, dtype=torch.float32)  # the last one is for no entity
    labels = label_map.long()
    first = torch.arange(batch, device=label_map.device)[:, None, None] * num_labels
    entity = torch.where(labels >= 0, (labels + first) * cells, -1)
    for row, row_weight in _cells_of_pixels(height, grid[0], label_map.device):
        for column, column_weight in _cells_of_pixels(width, grid[1], label_map.device):
            cell = row[:, None] * grid[1] + column
            index = torch.where(entity >= 0, entity + cell, shares.shape[0] - 1)  # a constant would fix V in exports
            weight = (row_weight[:, None] * column_weight).expand(batch, -1, -1)
            shares.index_add_(0, index.flatten(), weight.flatten())
    return shares[:-1].unflatten(0, (batch, num_labels, cells))


def seam_shares(
    label_map: Tensor, edge_index: Tensor, edge_batch: Tensor, num_labels: int, grid: tuple[int, int], seam_px: int = 2
) -> Tensor:
    """Weight of each cell of a feature map in the seam of each edge.

    The seam of two superpixels is a band along their common border. It consists of pairs of pixels, one in each
    superpixel, at most ``seam_px`` apart along a row or a column. Each pair counts once in the cells of both its
    pixels, so pixels at the border have the largest weight. An edge whose ends are further apart has no such pair and
    gets zeros.

    Args:
        label_map: (B, H, W) integer, labels 0 to V - 1 of each tile; -1 for no entity.
        edge_index: (2, E), labels of the two ends, each within its own tile.
        edge_batch: (E,), index of the tile of each edge.
        num_labels: largest number of labels in a tile, V.
        grid: size (h, w) of the feature map.
        seam_px: maximum distance of a pair in px.

    Returns:
        (E, h * w) float32.
    """
    edge, place = _seam_pixels(label_map, edge_index, edge_batch, num_labels, seam_px)
    return _spread(edge, place, edge_index.shape[1], label_map.shape[1:], grid)


def pool_over_superpixels(
    maps: list[Tensor], label_map: Tensor, vertex_batch: Tensor, pos: Tensor, edge_index: Tensor, seam_px: int | None
) -> tuple[Tensor, Tensor | None]:
    """Mean of feature maps over each superpixel and, optionally, each seam; channels of all maps are concatenated.

    A superpixel that is smaller than a cell gets the value of that cell, or the area-weighted mean of the cells in
    which it lies. An edge whose ends do not touch gets the value of the cell at the midpoint between them.

    Args:
        maps: maps of the B tiles, (B, C, h, w) each; C, h and w may differ.
        label_map: (B, H, W) integer, labels of each tile from 0; -1 for no entity.
        vertex_batch: (V,) index of the tile of each vertex, ascending; vertices of a tile are in the order of labels.
        pos: (V, 2), positions as (x, y) / (width, height).
        edge_index: (2, E) of the batch, with vertices numbered over all tiles.
        seam_px: half the width of the band along a border in px; None computes no edges.

    Returns:
        Means of vertices (V, D) and of edges (E, D) or None, where D is the sum of all C.
        Vertices (V, D) and edges (E, D) or None, D the sum of all C.
    """
    batch = label_map.shape[0]
    grids = [(int(one.shape[2]), int(one.shape[3])) for one in maps]  # plain numbers, also in a trace
    cells = [one.flatten(2).transpose(1, 2).float() for one in maps]  # (B, h w, C)
    label, most = _places(vertex_batch, batch)
    shares = _on_grids(set(grids), lambda grid: superpixel_shares(label_map, most, grid))
    vertices = [_pool(shares[grid], of_one)[vertex_batch, label] for grid, of_one in zip(grids, cells, strict=True)]
    if seam_px is None:
        return torch.cat(vertices, dim=1), None
    edge_batch = vertex_batch[edge_index[0]]
    edge, place = _seam_pixels(label_map, label[edge_index], edge_batch, most, seam_px)
    middle = 0.5 * (pos[edge_index[0]] + pos[edge_index[1]])
    own, most = _places(edge_batch, batch)
    slot = edge_batch * most + own  # edges of a tile are adjacent, for the matrix product

    def seams(grid: tuple[int, int]) -> Tensor:
        shares = _spread(slot[edge], place, batch * most, label_map.shape[1:], grid)
        return _or_middle(shares, slot, middle, grid).unflatten(0, (batch, most))

    shares = _on_grids(set(grids), seams)
    edges = [_pool(shares[grid], of_one)[edge_batch, own] for grid, of_one in zip(grids, cells, strict=True)]
    return torch.cat(vertices, dim=1), torch.cat(edges, dim=1)


def _pool(shares: Tensor, cells: Tensor) -> Tensor:
    """Means (B, N, C) of cells (B, h w, C), weighted by shares (B, N, h w); zeros for an entity without cells."""
    return torch.bmm(shares, cells) / shares.sum(2, keepdim=True).clamp(min=1e-6)


def _places(batch: Tensor, tiles: int) -> tuple[Tensor, int]:
    """Index (N,) of each entity within its tile, and the largest number of entities in a tile."""
    if tiles == 1:  # no sizes that depend on values, so it can be exported
        return torch.arange(batch.shape[0], device=batch.device), batch.shape[0]
    counts = torch.bincount(batch, minlength=tiles)
    order = batch.argsort(stable=True)
    ranked = torch.arange(len(batch), device=batch.device) - (counts.cumsum(0) - counts)[batch[order]]
    return torch.empty_like(ranked).index_copy_(0, order, ranked), int(counts.max())


def _on_grids(
    grids: set[tuple[int, int]], shares_on: Callable[[tuple[int, int]], Tensor]
) -> dict[tuple[int, int], Tensor]:
    """Shares (..., h w) on each grid; a grid whose cells are unions of cells of a finer grid is summed from that."""
    found: dict[tuple[int, int], Tensor] = {}
    for height, width in sorted(grids, reverse=True):
        finer = next((size for size in found if size[0] % height == 0 and size[1] % width == 0), None)
        if finer is None:
            found[height, width] = shares_on((height, width))
        else:
            block = (finer[0] // height, finer[1] // width)
            whole = found[finer].flatten(0, -2).unflatten(-1, (1, *finer))  # as images, for a fast sum
            added = F.avg_pool2d(whole, block, divisor_override=1)
            found[height, width] = added.flatten(1).view(*found[finer].shape[:-1], height * width)
    return found


def _seam_pixels(
    label_map: Tensor, edge_index: Tensor, edge_batch: Tensor, num_labels: int, seam_px: int
) -> tuple[Tensor, Tensor]:
    """The pixels of all seams: edge (P,), and index (P,) of the pixel in its tile, row by row; see :func:`seam_shares`.

    A pixel occurs once for each pair that it belongs to.
    """
    batch, height, width = label_map.shape
    device = label_map.device
    # The edge between any two labels of a tile, -1 for no edge.
    table = torch.full((batch, num_labels, num_labels), -1, dtype=torch.long, device=device)
    numbers = torch.arange(edge_index.shape[1], device=device)
    table[edge_batch, edge_index[0], edge_index[1]] = numbers
    table[edge_batch, edge_index[1], edge_index[0]] = numbers
    labels = label_map.long()
    edges, places = [numbers[:0]], [numbers[:0]]
    for distance in range(1, seam_px + 1):
        for axis, step in ((1, distance * width), (2, distance)):
            length = label_map.shape[axis] - distance
            if length <= 0:
                continue
            here, there = label_map.narrow(axis, 0, length), label_map.narrow(axis, distance, length)
            across = torch.zeros_like(label_map, dtype=torch.bool)
            across.narrow(axis, 0, length).copy_((here != there) & (here >= 0) & (there >= 0))
            pixel = across.flatten().nonzero().squeeze(1)
            tile = pixel.div(height * width, rounding_mode="floor")
            edge = table[tile, labels.flatten()[pixel], labels.flatten()[pixel + step]]
            place = pixel - tile * (height * width)
            edges += [edge, edge]
            places += [place, place + step]
    edge, place = torch.cat(edges), torch.cat(places)
    return edge[edge >= 0], place[edge >= 0]


def _spread(rows: Tensor, places: Tensor, num_rows: int, size: torch.Size, grid: tuple[int, int]) -> Tensor:
    """Number of pixels (P,) of rows (P,) in each cell, (num_rows, h w); a pixel in two cells counts in parts."""
    cells = grid[0] * grid[1]
    shares = torch.zeros(num_rows * cells, device=rows.device)
    for row, row_weight in _cells_of_pixels(size[0], grid[0], rows.device):
        for column, column_weight in _cells_of_pixels(size[1], grid[1], rows.device):
            cell, weight = row[:, None] * grid[1] + column, row_weight[:, None] * column_weight
            shares.index_add_(0, rows * cells + cell.flatten()[places], weight.flatten()[places])
    return shares.unflatten(0, (num_rows, cells))


def _or_middle(shares: Tensor, slot: Tensor, middle: Tensor, grid: tuple[int, int]) -> Tensor:
    """Shares (N, h w), where a row ``slot`` (E,) of an edge without shares gets the cell of its ``middle`` (E, 2)."""
    column = (middle[:, 0] * grid[1]).long().clamp(0, grid[1] - 1)
    row = (middle[:, 1] * grid[0]).long().clamp(0, grid[0] - 1)
    none = (shares.sum(1)[slot] == 0).to(shares.dtype)
    return shares.index_put((slot, row * grid[1] + column), none, accumulate=True)


def _cells_of_pixels(pixels: int, cells: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Cells in which each pixel lies along one axis, and its part in each: pairs of (cell, part), (pixels,) each.

    One pair if a cell is a whole number of pixels, otherwise as many as the maximum number of cells per pixel.
    """
    # Computed in NumPy: these are constants, and an exported network should not contain the operations.
    pixels = int(pixels)  # a tensor in a trace
    edges = np.arange(pixels) * cells / pixels
    step = cells / pixels  # cells per pixel
    first = np.floor(edges + 1e-9)
    most = 1 if pixels % cells == 0 else int(step) + 2
    pairs = []
    for offset in range(most):
        cell = first + offset
        low, high = np.maximum(edges, cell), np.minimum(edges + step, cell + 1)
        part = np.clip((high - low) / step, 0.0, None)
        own = np.minimum(cell, cells - 1).astype(int)
        pairs.append((torch.tensor(own.tolist(), device=device), torch.tensor(part.tolist(), device=device)))
    return pairs
