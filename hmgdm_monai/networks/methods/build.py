"""Build graph networks from plain settings, for configs and checkpoints; defaults are those of train.json."""

from __future__ import annotations

from collections.abc import Sequence

from hmgdm_monai.networks.encoders.graph_embedder import GraphEmbedder
from hmgdm_monai.networks.encoders.graph_encoder import GraphEncoder
from hmgdm_monai.networks.layers.readout import DEFAULT_STATISTICS, StatisticsReadout
from hmgdm_monai.networks.methods.graph_denoiser import GraphDenoiser
from hmgdm_monai.networks.methods.graph_mae import GraphMAE
from hmgdm_monai.networks.methods.hmgdm import HMGDM


def build_hmgdm(
    latent_dim: int,
    hidden_dim: int = 64,
    num_layers: int = 2,
    heads: int = 4,
    self_attention_depth: int = 1,
    mask_ratio: float = 0.6,
    edge_latents: bool = True,
    skip_connections: bool = True,
    hidden_entities: str = "token",
    use_positions: bool = True,
    bottleneck: bool = False,
    readout: Sequence[str] = DEFAULT_STATISTICS,
) -> HMGDM:
    """Build H-MGDM: an encoder and a denoiser of matching sizes.

    Args:
        latent_dim: size Z of vertex and edge latents.
        hidden_dim: size D of the states.
        num_layers: number of layers L of encoder and denoiser.
        heads: number of attention heads of the denoiser.
        self_attention_depth: number of joint self-attention blocks of the denoiser.
        mask_ratio: share of the entities to hide.
        edge_latents: whether edges have latents.
        skip_connections: whether each decoder block uses the state of its own encoder layer.
        hidden_entities: how hidden entities take part in the encoder, "token", "adjacency" or "induced".
        use_positions: whether the encoder uses positions.
        bottleneck: whether the encoder ends in a Gaussian bottleneck.
        readout: statistics that pool the states into the embedding.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> from hmgdm_monai import build_hmgdm
        >>> network = build_hmgdm(latent_dim=424)  # of the default backbone
        >>> network.encoder.hidden_dim, network.mask_ratio
        (64, 0.6)
    """
    encoder = GraphEncoder(
        latent_dim,
        hidden_dim,
        num_layers,
        edge_latents,
        hidden_entities,
        use_positions,
        bottleneck,
    )
    denoiser = GraphDenoiser(
        latent_dim,
        hidden_dim,
        num_layers,
        heads,
        self_attention_depth,
        edge_latents,
        skip_connections,
    )
    return HMGDM(encoder, denoiser, mask_ratio, StatisticsReadout(readout))


def build_graph_embedder(
    latent_dim: int,
    hidden_dim: int = 64,
    num_layers: int = 2,
    edge_latents: bool = True,
    hidden_entities: str = "token",
    use_positions: bool = True,
    readout: Sequence[str] = DEFAULT_STATISTICS,
) -> GraphEmbedder:
    """Build encoder and readout without a pretraining head, for encoders that another method trained.

    Args:
        latent_dim: size Z of vertex and edge latents.
        hidden_dim: size D of the states.
        num_layers: number of layers L.
        edge_latents: whether edges have latents.
        hidden_entities: see :func:`build_hmgdm`.
        use_positions: whether the encoder uses positions.
        readout: statistics that pool the states into the embedding.
    """
    encoder = GraphEncoder(
        latent_dim,
        hidden_dim,
        num_layers,
        edge_latents,
        hidden_entities,
        use_positions,
    )
    return GraphEmbedder(encoder, StatisticsReadout(readout))


def build_graph_mae(
    latent_dim: int,
    hidden_dim: int = 64,
    num_layers: int = 2,
    edge_latents: bool = True,
    hidden_entities: str = "token",
    use_positions: bool = True,
    readout: Sequence[str] = DEFAULT_STATISTICS,
    mask_ratio: float = 0.5,
    decoder_layers: int = 1,
) -> GraphMAE:
    """Build a masked autoencoder of graphs.

    Args:
        latent_dim: size Z of vertex and edge latents.
        hidden_dim: size D of the states.
        num_layers: number of layers L of the encoder.
        edge_latents: whether edges have latents.
        hidden_entities: see :func:`build_hmgdm`.
        use_positions: whether the encoder uses positions.
        readout: statistics that pool the states into the embedding.
        mask_ratio: share of the vertices to hide.
        decoder_layers: number of graph layers of the decoder.
    """
    parts = build_graph_embedder(
        latent_dim, hidden_dim, num_layers, edge_latents, hidden_entities, use_positions, readout
    )
    return GraphMAE(parts.encoder, mask_ratio, decoder_layers, parts.readout)
