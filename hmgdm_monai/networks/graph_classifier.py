"""Classifiers on top of a pretrained graph encoder: fine-tuned with a gate, or a simple head on its embedding."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.networks.gated_pooling import GatedAttentionPooling
from hmgdm_monai.networks.hmgdm import HMGDM, num_graphs


class EncoderClassifier(nn.Module):
    """The part of H-MGDM that serves downstream, as the trunk of a classifier.

    Args:
        hmgdm: pretrained; its standardisation, encoder and readout are copied, its denoiser is left behind.
    """

    def __init__(self, hmgdm: HMGDM) -> None:
        super().__init__()
        self.standardizer = copy.deepcopy(hmgdm.standardizer)
        self.encoder = copy.deepcopy(hmgdm.encoder).requires_grad_(True)
        self.readout = copy.deepcopy(hmgdm.readout)

    def states(self, graph: EntityGraph) -> Tensor:
        """Last states (V, D) of the vertices of whole graphs, which have heard the edges'."""
        edges = self.standardizer(graph.edge_latents) if self.encoder.edge_latents else None
        encoding = self.encoder(self.standardizer(graph.vertex_latents), edges, graph.edge_index, graph.pos)
        return encoding.vertex_states[-1]


class GraphClassifier(EncoderClassifier):
    """Encoder, gated global attention pooling over vertices, head (hidden, hidden / 2, classes): the paper's.

    Args:
        hmgdm: pretrained; copied.
        num_classes: K.
        hidden: width of the gate and of the head's first layer; the encoder's D where None.
        dropout: share of the head's activations to drop in training.
    """

    def __init__(self, hmgdm: HMGDM, num_classes: int, hidden: int | None = None, dropout: float = 0.2) -> None:
        super().__init__(hmgdm)
        channels = self.encoder.hidden_dim
        hidden = channels if hidden is None else hidden
        self.pooling = GatedAttentionPooling(channels, hidden)
        self.head = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden // 2, num_classes),
        )

    def forward(self, graph: EntityGraph) -> Tensor:
        """Logits (B, K) of a (batch of) latent graph(s)."""
        return self.head(self.pool(graph)[0])

    def pool(self, graph: EntityGraph) -> tuple[Tensor, Tensor]:
        """Embedding (B, D) of each graph, and the weight (V,) of each vertex in it."""
        return self.pooling(self.states(graph), graph.vertex_batch, num_graphs(graph))

    def attention(self, graph: EntityGraph) -> Tensor:
        """Weight (V,) of each vertex, summing to 1 in each graph: what paints the superpixels."""
        return self.pool(graph)[1]

    def head_parameters(self) -> list[nn.Parameter]:
        """What pretraining did not train: gate and head."""
        return [*self.pooling.parameters(), *self.head.parameters()]


class EmbeddingClassifier(EncoderClassifier):
    """A head on the frozen embedding.

    Args:
        hmgdm: pretrained; copied.
        head: embeddings (B, S) -> logits (B, K), of :mod:`hmgdm_monai.networks.embedding_heads`.
    """

    def __init__(self, hmgdm: HMGDM, head: nn.Module) -> None:
        super().__init__(hmgdm)
        self.head = head
        self.requires_grad_(False).eval()

    def embed(self, graph: EntityGraph) -> Tensor:
        """Embeddings (B, S), those of :meth:`HMGDM.embed`."""
        return self.readout(self.states(graph), graph.vertex_batch, num_graphs(graph))

    def forward(self, graph: EntityGraph) -> Tensor:
        """Logits (B, K) of a (batch of) latent graph(s); their softmax is what the head holds probable."""
        return self.head(self.embed(graph))
