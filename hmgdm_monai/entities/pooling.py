"""Feature maps averaged over superpixels and over the seams between them."""

from __future__ import annotations

import torch
from torch import Tensor


def superpixel_shares(label_map: Tensor, num_labels: int, grid: tuple[int, int]) -> Tensor:
    """The area that each superpixel shares with each cell of a feature map.

    A map of h x w cells covers the whole tile. A cell that ends inside a pixel gets its part of that pixel, so the
    areas of a superpixel sum to its number of pixels on any grid.

    Args:
        label_map: (B, H, W) integer, labels 0 to V - 1 of each tile; -1 where there is no entity.
        num_labels: V, the largest number of labels in a tile.
        grid: (h, w).

    Returns:
        (B, V, h * w) float32, in px.
    """
    batch, height, width = label_map.shape
    cells = grid[0] * grid[1]
    shares = label_map.new_zeros(batch * num_labels * cells + 1, dtype=torch.float32)  # the last one: no entity
    labels = label_map.long()
    first = torch.arange(batch, device=label_map.device)[:, None, None] * num_labels
    entity = torch.where(labels >= 0, (labels + first) * cells, -1)
    for row, row_weight in _cells_of_pixels(height, grid[0], label_map.device):
        for column, column_weight in _cells_of_pixels(width, grid[1], label_map.device):
            cell = row[:, None] * grid[1] + column
            index = torch.where(entity >= 0, entity + cell, len(shares) - 1)
            weight = (row_weight[:, None] * column_weight).expand(batch, -1, -1)
            shares.index_add_(0, index.flatten(), weight.flatten())
    return shares[:-1].unflatten(0, (batch, num_labels, cells))


def seam_shares(
    label_map: Tensor, edge_index: Tensor, edge_batch: Tensor, num_labels: int, grid: tuple[int, int], seam_px: int = 2
) -> Tensor:
    """How much of the seam of each edge lies in each cell of a feature map.

    The seam of two superpixels is a band along their common border. It is made of pairs of pixels, one in either
    superpixel, at most ``seam_px`` apart along a row or a column; each pair counts once in the cells of both its
    pixels. So pixels at the border weigh most. An edge whose ends do not touch has no such pair, and gets zeros.

    Args:
        label_map: (B, H, W) integer, labels 0 to V - 1 of each tile; -1 where there is no entity.
        edge_index: (2, E), labels of the two ends, each within its own tile.
        edge_batch: (E,), the tile of each edge.
        num_labels: V, the largest number of labels in a tile.
        grid: (h, w).
        seam_px: the largest distance of a pair.

    Returns:
        (E, h * w) float32.
    """
    batch, height, width = label_map.shape
    edges, cells, device = edge_index.shape[1], grid[0] * grid[1], label_map.device
    # The edge between any two labels of a tile, -1 where there is none.
    table = torch.full((batch, num_labels, num_labels), -1, dtype=torch.long, device=device)
    numbers = torch.arange(edges, device=device)
    table[edge_batch, edge_index[0], edge_index[1]] = numbers
    table[edge_batch, edge_index[1], edge_index[0]] = numbers
    shares = torch.zeros(edges * cells, device=device)
    parts = [
        (row[:, None] * grid[1] + column, row_weight[:, None] * column_weight)
        for row, row_weight in _cells_of_pixels(height, grid[0], device)
        for column, column_weight in _cells_of_pixels(width, grid[1], device)
    ]
    places = torch.arange(height * width, device=device).view(height, width)
    for distance in range(1, seam_px + 1):
        for axis in (1, 2):
            length = label_map.shape[axis] - distance
            if length <= 0:
                continue
            here, there = label_map.narrow(axis, 0, length), label_map.narrow(axis, distance, length)
            tile, row, column = ((here != there) & (here >= 0) & (there >= 0)).nonzero(as_tuple=True)
            edge = table[tile, here[tile, row, column].long(), there[tile, row, column].long()]
            found = edge >= 0
            edge, row, column = edge[found], row[found], column[found]
            pixel = places[row, column]
            for other in (pixel, pixel + distance * (width if axis == 1 else 1)):
                for cell, weight in parts:
                    shares.index_add_(0, edge * cells + cell.flatten()[other], weight.flatten()[other])
    return shares.unflatten(0, (edges, cells))


def pool_over_superpixels(
    maps: list[Tensor], label_map: Tensor, vertex_batch: Tensor, pos: Tensor, edge_index: Tensor, seam_px: int | None
) -> tuple[Tensor, Tensor | None]:
    """Mean of feature maps over each superpixel and, where wanted, over each seam; channels of all maps side by side.

    A superpixel that is smaller than a cell takes that cell's value, or the mean of the cells that it lies in, each
    weighed by the area. An edge whose ends do not touch takes the cell midway between them.

    Args:
        maps: of the B tiles, (B, C, h, w) each; C, h and w may differ.
        label_map: (B, H, W) integer, labels of each tile from 0; -1 where there is no entity.
        vertex_batch: (V,) tile of each vertex, ascending; vertices of a tile in the order of their labels.
        pos: (V, 2), positions as (x, y) / (width, height).
        edge_index: (2, E) of the batch, so vertices counted through all tiles.
        seam_px: half the width of the band along a border; None for no edges.

    Returns:
        Vertices (V, D) and edges (E, D) or None, D the sum of all C.
    """
    batch = len(label_map)
    label = torch.arange(vertex_batch.shape[0], device=vertex_batch.device)
    own, most = edge_index, vertex_batch.shape[0]
    if batch > 1:  # a tile alone has no sizes that depend on values, and can be exported
        counts = torch.bincount(vertex_batch, minlength=batch)
        starts = counts.cumsum(0) - counts
        label = label - starts[vertex_batch]
        own, most = edge_index - starts[vertex_batch[edge_index[0]]], int(counts.max())
    edge_batch = vertex_batch[edge_index[0]]
    grids = {(int(one.shape[2]), int(one.shape[3])) for one in maps}
    shares = {grid: superpixel_shares(label_map, most, grid) for grid in grids}
    seams: dict[tuple[int, int], Tensor] = {}
    if seam_px is not None:
        middle = 0.5 * (pos[edge_index[0]] + pos[edge_index[1]])
        seams = {grid: seam_shares(label_map, own, edge_batch, most, grid, seam_px) for grid in grids}
        seams = {grid: _or_middle(seam, middle, grid) for grid, seam in seams.items()}
    vertices, edges = [], []
    for one in maps:
        grid = (int(one.shape[2]), int(one.shape[3]))
        cells = one.flatten(2).transpose(1, 2).float()  # (B, h w, C)
        share = shares[grid]
        pooled = torch.bmm(share, cells) / share.sum(2, keepdim=True).clamp(min=1e-6)
        vertices.append(pooled[vertex_batch, label])
        if seam_px is not None:
            edges.append(_pool_ragged(seams[grid], cells, edge_batch))
    return torch.cat(vertices, dim=1), torch.cat(edges, dim=1) if seam_px is not None else None


def _pool_ragged(shares: Tensor, cells: Tensor, batch: Tensor) -> Tensor:
    """Means (E, C) of cells (B, N, C), weighed by shares (E, N); batch (E,) ascending or not."""
    total = shares.sum(1, keepdim=True)
    if len(cells) == 1:
        return shares @ cells[0] / total
    order = batch.argsort(stable=True)
    counts = torch.bincount(batch, minlength=len(cells))
    place = torch.arange(len(batch), device=batch.device) - (counts.cumsum(0) - counts)[batch[order]]
    padded = shares.new_zeros(len(cells), int(counts.max()) if len(batch) else 0, shares.shape[1])
    padded[batch[order], place] = shares[order]
    pooled = torch.bmm(padded, cells)[batch[order], place]
    pooled = torch.empty_like(pooled).index_copy_(0, order, pooled)
    return pooled / total


def _or_middle(seam: Tensor, middle: Tensor, grid: tuple[int, int]) -> Tensor:
    """Shares (E, h w) as they are, or the cell of ``middle`` (E, 2) where an edge has none."""
    column = (middle[:, 0] * grid[1]).long().clamp(0, grid[1] - 1)
    row = (middle[:, 1] * grid[0]).long().clamp(0, grid[0] - 1)
    alone = torch.zeros_like(seam).scatter_(1, (row * grid[1] + column)[:, None], 1.0)
    return torch.where(seam.sum(1, keepdim=True) > 0, seam, alone)


def _cells_of_pixels(pixels: int, cells: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Along one axis: the cells in which each pixel lies and its part in each, as pairs of (cell, part), (pixels,).

    One pair where a cell is a whole number of pixels, else as many as a pixel can have cells.
    """
    edges = torch.arange(pixels, dtype=torch.float64, device=device) * cells / pixels
    step = cells / pixels  # cells in a pixel
    first = (edges + 1e-9).floor()
    most = 1 if pixels % cells == 0 else int(step) + 2
    pairs = []
    for offset in range(most):
        cell = first + offset
        low, high = torch.maximum(edges, cell), torch.minimum(edges + step, cell + 1)
        part = ((high - low) / step).clamp(min=0.0)
        pairs.append((cell.long().clamp(max=cells - 1), part.float()))
    return pairs
