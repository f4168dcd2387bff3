"""Networks of graphs from plain settings, for configs and checkpoints; defaults are those of train.json."""

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
    layer_differences: bool = False,
) -> HMGDM:
    """Encoder and denoiser of matching sizes.

    Args:
        latent_dim: Z, size of vertex and edge latents.
        hidden_dim: D.
        num_layers: L, of encoder and denoiser.
        heads: of the denoiser's attention.
        self_attention_depth: joint self-attention blocks of the denoiser.
        mask_ratio: share of the entities to hide.
        edge_latents: whether edges carry latents.
        skip_connections: whether each decoder block sees its own encoder layer.
        hidden_entities: how hidden entities take part in the encoder, "token", "adjacency" or "induced".
        use_positions: whether the encoder sees positions.
        bottleneck: whether the encoder ends in a Gaussian bottleneck.
        readout: statistics that pool the states into the embedding.
        layer_differences: whether in each layer vertices also hear how their neighbors differ from them.

    Raises:
        ValueError: a setting out of its range.

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
        layer_differences,
    )
    denoiser = GraphDenoiser(
        latent_dim,
        hidden_dim,
        num_layers,
        heads,
        self_attention_depth,
        edge_latents,
        skip_connections,
        layer_differences,
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
    layer_differences: bool = False,
) -> GraphEmbedder:
    """Encoder and readout alone, for encoders that another method than H-MGDM has trained, or none; see above."""
    encoder = GraphEncoder(
        latent_dim,
        hidden_dim,
        num_layers,
        edge_latents,
        hidden_entities,
        use_positions,
        layer_differences=layer_differences,
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
    layer_differences: bool = False,
    mask_ratio: float = 0.5,
    decoder_layers: int = 1,
) -> GraphMAE:
    """A masked autoencoder of graphs.

    Args:
        latent_dim: Z, size of vertex and edge latents.
        hidden_dim: D.
        num_layers: L, of the encoder.
        edge_latents: whether edges carry latents.
        hidden_entities: see :func:`build_hmgdm`.
        use_positions: whether the encoder sees positions.
        readout: statistics that pool the states into the embedding.
        layer_differences: see :func:`build_hmgdm`.
        mask_ratio: share of the vertices to hide.
        decoder_layers: graph layers of the decoder.
    """
    parts = build_graph_embedder(
        latent_dim, hidden_dim, num_layers, edge_latents, hidden_entities, use_positions, readout, layer_differences
    )
    return GraphMAE(parts.encoder, mask_ratio, decoder_layers, parts.readout)
