"""Convolution of edges on the dual hypergraph."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.utils import scatter


class DualHypergraphConv(nn.Module):
    """Exchange states between edges that meet at a vertex.

    In the dual hypergraph, each edge of the entity graph is a hypernode, and each vertex is a hyperedge that connects
    the edges meeting there (Jo et al., NeurIPS 2021). Each hyperedge averages its hypernodes, each hypernode averages
    its two hyperedges: D^-1 H B^-1 H^T X W + b. The order of the edges and of their ends does not matter.

    PyG's ``HypergraphConv`` computes the same, but gathers and scatters over one incidence matrix. Here hidden edges
    must receive without sending, which needs two.

    Args:
        channels: size D of the edge states, input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(
        self, edge_states: Tensor, edge_index: Tensor, num_vertices: int, sends: Tensor | None = None
    ) -> Tensor:
        """Convolve the edge states.

        Args:
            edge_states: (E, D).
            edge_index: (2, E), each undirected edge once.
            num_vertices: number of vertices V.
            sends: (E,) bool; only these edges send, but all receive. None: all send.

        Returns:
            (E, D). Hyperedges without a sending edge count as zero.
            (E, D). Hyperedges without a sending edge count as zero.
        """
        sent, ends = (edge_states, edge_index) if sends is None else (edge_states[sends], edge_index[:, sends])
        # An edge belongs to the hyperedges of both its ends.
        hyperedges = scatter(sent.repeat(2, 1), ends.reshape(-1), dim_size=num_vertices, reduce="mean")
        return self.linear(0.5 * (hyperedges[edge_index[0]] + hyperedges[edge_index[1]]))
