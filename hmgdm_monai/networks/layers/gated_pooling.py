"""Gated attention pooling: combine the states of a set to one vector, with a weight for each member."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter, softmax


class GatedAttentionPooling(nn.Module):
    """Weighted mean over each set of a batch, with weights learned by a gate (Ilse et al., ICML 2018).

    The score of a state h is ``w . (tanh(V h) * sigmoid(U h))``; its weight is the softmax of the scores over its set,
    for example the superpixels of a tile, or the tiles of a patient. Weights do not depend on the order of the states
    or on other sets of the batch.

    Args:
        channels: size D of a state.
        hidden: size of V h and U h.

    Example:
        >>> pooled, weights = GatedAttentionPooling(8, 4)(torch.rand(5, 8), torch.tensor([0, 0, 0, 1, 1]), 2)
        >>> tuple(pooled.shape), tuple(weights.shape)
        ((2, 8), (5,))
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.value = nn.Linear(channels, hidden)
        self.gate = nn.Linear(channels, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, states: Tensor, batch: Tensor, num_graphs: int) -> tuple[Tensor, Tensor]:
        """Pool the states of each set.

        Args:
            states: (N, D).
            batch: (N,) int64, index of the set of each state, 0 to B - 1.
            num_graphs: number of sets B.

        Returns:
            Pooled states (B, D), zeros for an empty set, and weights (N,) that sum to 1 in each set.
        """
        scores = self.score(torch.tanh(self.value(states)) * torch.sigmoid(self.gate(states))).squeeze(-1)
        attention = softmax(scores, batch, num_nodes=num_graphs)
        return scatter(attention.unsqueeze(-1) * states, batch, dim_size=num_graphs, reduce="sum"), attention
