"""Classification heads on frozen embeddings; they are modules, so that a checkpoint can store them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LinearHead(nn.Module):
    """Logistic regression: logits (B, K) = W x + b, with weights that scikit-learn has fitted.

    Args:
        num_features: number of input features S.
        num_classes: number of classes K.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", torch.zeros(num_classes, num_features))
        self.register_buffer("bias", torch.zeros(num_classes))

    def set(self, weight: Tensor, bias: Tensor) -> LinearHead:
        """Set weight (K, S) and bias (K,).

        Args:
            weight: (K, S).
            bias: (K,).

        Returns:
            This head.
        """
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """Compute the logits (B, K) of embeddings (B, S)."""
        return F.linear(embeddings, self.weight, self.bias)


class NearestNeighborHead(nn.Module):
    """Weighted k nearest neighbors among standardized embeddings, by cosine similarity.

    Each neighbor votes for its class with ``exp(cosine / temperature)`` (Wu et al., CVPR 2018, as in DINO's
    evaluation), times the weight of its class. The class weight is our addition: without it the largest class wins.

    Args:
        num_features: number of input features S.
        num_classes: number of classes K.
        num_examples: number of stored embeddings N.
        neighbors: number of neighbors k; at most ``num_examples`` are used.
        temperature: temperature of the votes; with low values the nearest neighbors dominate.
    """

    def __init__(
        self, num_features: int, num_classes: int, num_examples: int, neighbors: int, temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.neighbors, self.temperature = min(neighbors, num_examples), temperature
        self.mean: Tensor
        self.scale: Tensor
        self.examples: Tensor
        self.votes: Tensor
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))
        self.register_buffer("examples", torch.zeros(num_examples, num_features))
        self.register_buffer("votes", torch.zeros(num_examples, num_classes))

    def set(self, embeddings: Tensor, labels: Tensor, class_weights: Tensor) -> NearestNeighborHead:
        """Store embeddings (N, S) with labels (N,) and class_weights (K,).

        Args:
            embeddings: (N, S).
            labels: (N,) int64.
            class_weights: (K,) weights of the votes.

        Returns:
            This head.
        """
        scale = embeddings.std(0, correction=0)
        self.mean.copy_(embeddings.mean(0))
        # A constant feature (except for rounding) carries no information: it is centered, but not scaled up.
        self.scale.copy_(torch.where(scale > 1e-6 * self.mean.abs().clamp(min=1.0), scale, torch.inf))
        self.examples.copy_(self._direction(embeddings))
        self.votes.copy_(F.one_hot(labels, self.votes.shape[1]) * class_weights)
        return self

    def forward(self, embeddings: Tensor) -> Tensor:
        """Compute the logarithm of the vote shares (B, K) for embeddings (B, S)."""
        cosine, nearest = (self._direction(embeddings) @ self.examples.T).topk(self.neighbors, dim=1)
        # Relative to the nearest neighbor: the shares are the same, and nothing overflows.
        strength = ((cosine - cosine[:, :1]) / self.temperature).exp().unsqueeze(-1)
        shares = (strength * self.votes[nearest]).sum(1)
        return (shares / shares.sum(1, keepdim=True)).clamp(min=1e-6).log()

    def _direction(self, embeddings: Tensor) -> Tensor:
        return F.normalize((embeddings - self.mean) / self.scale, dim=1)
