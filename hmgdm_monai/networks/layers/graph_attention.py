"""Attention within each graph of a batch: padded dense batches through PyTorch's fused kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RaggedBatch:
    """Positions of N entities of B graphs in a padded batch (B, M), where M is the size of the largest graph.

    The cost grows with B * M^2, not with the square of the whole batch as in the published code.

    Args:
        batch: (N,) index of the graph of each entity, in any order.
        num_graphs: number of graphs B.
    """

    def __init__(self, batch: Tensor, num_graphs: int) -> None:
        count = torch.bincount(batch, minlength=num_graphs)
        self.order = torch.argsort(batch, stable=True)
        self.row = batch[self.order]
        self.column = torch.arange(len(batch), device=batch.device) - (torch.cumsum(count, 0) - count)[self.row]
        # At least one column: attention needs a key, possibly a padded one, even if all graphs are empty.
        columns = max(1, int(count.max()) if num_graphs else 0)
        self.mask = torch.arange(columns, device=batch.device) < count.unsqueeze(1)  # (B, M), True where filled

    def pad(self, states: Tensor) -> Tensor:
        """(N, D) -> (B, M, D), padded with zeros."""
        padded = states.new_zeros(*self.mask.shape, states.shape[-1])
        padded[self.row, self.column] = states[self.order]
        return padded

    def unpad(self, padded: Tensor) -> Tensor:
        """(B, M, D) -> (N, D), in the order of the entities."""
        states = padded.new_empty(len(self.order), padded.shape[-1])
        states[self.order] = padded[self.row, self.column]
        return states


class GraphAttention(nn.Module):
    """Multi-head attention from query entities to key entities of the same graph.

    Args:
        channels: size D of a state.
        heads: number of heads; divides D.

    Raises:
        ValueError: ``heads`` does not divide D, or is below 1.
    """

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"heads must divide channels, got {heads} and {channels}")
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, keys: Tensor, query_places: RaggedBatch, key_places: RaggedBatch) -> Tensor:
        """Attend from queries (N, D) to keys (K, D) -> (N, D); a graph without keys gets only the output's bias.

        Args:
            queries: (N, D) states of the query entities.
            keys: (K, D) states of the key entities.
            query_places: positions of the queries in a padded batch.
            key_places: positions of the keys in a padded batch.
        """
        q = self._split(query_places.pad(self.query(queries)))
        k, v = self.key_value(keys).chunk(2, dim=-1)
        k, v = self._split(key_places.pad(k)), self._split(key_places.pad(v))
        # Kernels differ in their result for a row without keys, for example NaN. So a graph without keys attends to its
        # first padded key, whose value is zero.
        mask = key_places.mask.clone()
        mask[:, 0] |= ~mask.any(dim=1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])  # (B, heads, M, D / heads)
        return self.out(query_places.unpad(attended.transpose(1, 2).flatten(2)))

    def _split(self, padded: Tensor) -> Tensor:
        return padded.unflatten(-1, (self.heads, -1)).transpose(1, 2)
