"""The entity graph: a PyG ``Data`` of vertices and edges that carry entity windows or latents."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data


class EntityGraph(Data):
    """One tile as a graph of entities (V vertices, E edges, D latent features, S side of the tile in px).

    Attributes:
        pos: (V, 2) float32, centroid of each entity as (x, y) / (tile width, tile height), in [0, 1].
        edge_index: (2, E) int64. Each undirected edge is stored **once**, with ``edge_index[0] < edge_index[1]`` when
            this package builds the graph; no layer may depend on the order of the two ends.
        image: (1, 3, S, S) uint8, optional; the tile image.
        label_map: (1, S, S) int32, optional; index of the entity at each pixel, 0 to V - 1, or -1 for no entity.
        mpp: (1,) float32, optional; microns per pixel of the tile, NaN if unknown.
        vertex_latents: (V, D) float32, optional; latents of the vertices from an entity encoder.
        edge_latents: (E, D) float32, optional; latents of the edges from an entity encoder.
        vertex_views: (V, K, D) float32, optional; vertex latents of K degraded views of the tile, same entities.
        edge_views: (E, K, D) float32, optional; edge latents of these K views.

    Tiles of one size can be batched: images become (B, 3, S, S) and label maps (B, S, S); labels stay indices within
    their own tile. In a batch, ``batch`` (V,) holds the graph index of each vertex, and :meth:`edge_batch` that of
    each edge.

    Example:
        >>> import torch
        >>> from hmgdm_monai import EntityGraph
        >>> graph = EntityGraph(pos=torch.rand(3, 2), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> graph.num_vertices, tuple(graph.edge_pos.shape)
        (3, (2, 2))
    """

    @property
    def num_vertices(self) -> int:
        """Number of entities, V."""
        return int(self.pos.shape[0])

    @property
    def edge_pos(self) -> Tensor:
        """Midpoints of the two ends of each edge, (E, 2), in the units of ``pos``."""
        return edge_midpoints(self.pos, self.edge_index)

    @property
    def vertex_batch(self) -> Tensor:
        """Graph index of each vertex, (V,) int64; all zeros for a single graph."""
        batch = self.get("batch")
        return torch.zeros(self.num_vertices, dtype=torch.long, device=self.pos.device) if batch is None else batch

    @property
    def edge_batch(self) -> Tensor:
        """Graph index of each edge, (E,) int64."""
        return self.vertex_batch[self.edge_index[0]]


def entity_latents(graph: EntityGraph) -> Tensor:
    """Latents (N, D) of the vertices, followed by those of the edges if the graph has them: N is V + E, or V."""
    edges = graph.get("edge_latents")
    return graph.vertex_latents if edges is None else torch.cat((graph.vertex_latents, edges))


def edge_midpoints(pos: Tensor, edge_index: Tensor) -> Tensor:
    """Midpoint of the two ends of each edge: pos (V, 2), edge_index (2, E) -> (E, 2).

    Args:
        pos: (V, 2).
        edge_index: (2, E).
    """
    return 0.5 * (pos[edge_index[0]] + pos[edge_index[1]])


def mpp_tensor(mpp: float | None) -> Tensor:
    """Convert microns per pixel to the tensor that a graph holds: (1,) float32, NaN if unknown."""
    return torch.tensor([float("nan") if mpp is None else mpp], dtype=torch.float32)
