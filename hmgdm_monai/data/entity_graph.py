"""The entity graph: a PyG ``Data`` whose vertices, and where wanted edges, carry windows or latents."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data


class EntityGraph(Data):
    """One tile as a graph of entities (V vertices, E edges, D latent features, S side of the tile in px).

    Attributes:
        pos: (V, 2) float32, centroid of each entity as (x, y) / (tile width, tile height), in [0, 1].
        edge_index: (2, E) int64. Every undirected edge stands **once**, ``edge_index[0] < edge_index[1]`` as built; no
            layer may depend on which end comes first.
        image: (1, 3, S, S) uint8, optional; the tile.
        label_map: (1, S, S) int32, optional; entity of each pixel, 0 to V - 1, or -1 where there is none.
        mpp: (1,) float32, optional; microns per pixel of the tile, NaN where unknown.
        vertex_latents: (V, D) float32, optional; made by an entity encoder.
        edge_latents: (E, D) float32, optional; the same.
        vertex_views: (V, K, D) float32, optional; latents of K degraded views of the tile, of the same entities.
        edge_views: (E, K, D) float32, optional; the same of the edges.

    Tiles of one size batch: images to (B, 3, S, S), label maps to (B, S, S), whose labels count within each tile. In a
    batch ``batch`` (V,) names the graph of each vertex, and :meth:`edge_batch` that of each edge.

    Example:
        >>> import torch
        >>> from hmgdm_monai import EntityGraph
        >>> graph = EntityGraph(pos=torch.rand(3, 2), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> graph.num_vertices, tuple(graph.edge_pos.shape)
        (3, (2, 2))
    """

    @property
    def num_vertices(self) -> int:
        """V, the number of entities."""
        return int(self.pos.shape[0])

    @property
    def edge_pos(self) -> Tensor:
        """(E, 2) midpoint of the two ends of each edge, in the units of ``pos``."""
        return edge_midpoints(self.pos, self.edge_index)

    @property
    def vertex_batch(self) -> Tensor:
        """(V,) int64, index of the graph of each vertex; zeros where this is one graph."""
        batch = self.get("batch")
        return torch.zeros(self.num_vertices, dtype=torch.long, device=self.pos.device) if batch is None else batch

    @property
    def edge_batch(self) -> Tensor:
        """(E,) int64, index of the graph of each edge."""
        return self.vertex_batch[self.edge_index[0]]


def entity_latents(graph: EntityGraph) -> Tensor:
    """Latents (N, D) of the vertices, then of the edges where the graph has those: N is V + E, or V."""
    edges = graph.get("edge_latents")
    return graph.vertex_latents if edges is None else torch.cat((graph.vertex_latents, edges))


def edge_midpoints(pos: Tensor, edge_index: Tensor) -> Tensor:
    """Midpoint of the ends of each edge: pos (V, 2), edge_index (2, E) -> (E, 2)."""
    return 0.5 * (pos[edge_index[0]] + pos[edge_index[1]])


def mpp_tensor(mpp: float | None) -> Tensor:
    """Microns per pixel as a graph keeps them, (1,) float32; NaN where unknown."""
    return torch.tensor([float("nan") if mpp is None else mpp], dtype=torch.float32)
