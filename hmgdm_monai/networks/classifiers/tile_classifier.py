"""Tile classifiers on a pretrained encoder: a head on the frozen embedding, or fine-tuning with a gate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.networks.layers.described import Described
from hmgdm_monai.networks.layers.gated_pooling import GatedAttentionPooling


class TileClassifier(Described):
    """Classify tiles with a head on the frozen embedding.

    Args:
        encoder: pretrained encoder; it is copied, without the parts that only pretraining needs.
        head: module from embeddings (B, S) to logits (B, K), see
            :mod:`hmgdm_monai.networks.classifiers.embedding_heads`.
    """

    def __init__(self, encoder: TileEncoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder.without_pretext()
        self.head = head
        self.requires_grad_(False).eval()

    def forward(self, tiles: Tensor | Data) -> Tensor:
        """Compute the logits (B, K); their softmax gives the class probabilities.

        Args:
            tiles: images (B, 3, S, S) with values 0 to 255, or samples that the encoder has prepared.
        """
        return self.head(self.encoder.embed(self.prepared(tiles)))

    def entity_logits(self, prepared: Data) -> tuple[Tensor, Tensor]:
        """Logits of single entities, for maps of superpixels or patches; docs/maps.md gives the formulas.

        Here, the head is applied to the embedding of each entity
        (:meth:`~hmgdm_monai.networks.encoders.tile_encoder.TileEncoder.embed_entities`). With a linear head, the mean
        of the logits over a tile equals the logits of the tile.

        Args:
            prepared: samples that the encoder has prepared.

        Returns:
            Logits (N, K), and the weight (N,) of each entity; the weights sum to 1 in each tile.
        """
        embeddings, tile = self.encoder.embed_entities(prepared)
        return self.head(embeddings), 1.0 / torch.bincount(tile)[tile].to(embeddings.dtype)

    def prepared(self, tiles: Tensor | Data) -> Data:
        """Prepare images; samples that are already prepared are returned unchanged."""
        return self.encoder.prepare(self.encoder.samples(tiles)) if isinstance(tiles, Tensor) else tiles


class GatedTileClassifier(TileClassifier):
    """Classify tiles with encoder, gated global attention pooling and head (hidden, hidden / 2, classes), as the paper.

    Args:
        encoder: pretrained encoder; it is copied, without the parts that only pretraining needs.
        num_classes: number of classes K.
        hidden: width of the gate and of the first layer of the head; None uses the encoder's D.
        dropout: dropout rate in the head.
    """

    def __init__(self, encoder: TileEncoder, num_classes: int, hidden: int | None = None, dropout: float = 0.2) -> None:
        channels = encoder.state_dim
        hidden = channels if hidden is None else hidden
        head = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden // 2, num_classes),
        )
        super().__init__(encoder, head)
        # The arguments, as stored in a model file.
        self.settings = {"num_classes": int(num_classes), "hidden": hidden, "dropout": float(dropout)}
        self.pooling = GatedAttentionPooling(channels, hidden)
        for parameter in (*self.encoder.trainable_parameters(), *self.head_parameters()):
            parameter.requires_grad_(True)
        self.train()

    def forward(self, tiles: Tensor | Data) -> Tensor:
        """Logits (B, K); see the base class."""
        return self.head(self.pool(self.prepared(tiles))[0])

    def pool(self, prepared: Data) -> tuple[Tensor, Tensor]:
        """Compute the embedding (B, D) of each tile and the weight (N,) of each of its entities."""
        return self.pooling(*self.encoder.states(prepared))

    def entity_logits(self, prepared: Data) -> tuple[Tensor, Tensor]:
        """Logits (N, K) of the head applied to the state of each entity, and the gate's weight (N,) of each.

        The head is not linear: the weighted mean of these logits over a tile is close to its logits, but not equal.

        Args:
            prepared: samples that the encoder has prepared.
        """
        states = self.encoder.states(prepared)
        return self.head(states[0]), self.pooling(*states)[1]

    def attention(self, prepared: Data) -> Tensor:
        """Weight (N,) of each entity, for maps of superpixels or patches; the weights sum to 1 in each tile."""
        return self.pool(prepared)[1]

    def parameter_groups(self, learning_rate: float, encoder_learning_rate: float) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer: gate and head, and the pretrained encoder with its own learning rate.

        Args:
            learning_rate: learning rate of gate and head.
            encoder_learning_rate: learning rate of the encoder; 0 freezes it.
        """
        encoder = self.encoder.trainable_parameters()
        for parameter in encoder:
            parameter.requires_grad_(encoder_learning_rate > 0)
        return [
            {"params": self.head_parameters(), "lr": learning_rate},
            {"params": encoder, "lr": encoder_learning_rate},
        ]

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters that pretraining has not trained: gate and head."""
        return [*self.pooling.parameters(), *self.head.parameters()]
