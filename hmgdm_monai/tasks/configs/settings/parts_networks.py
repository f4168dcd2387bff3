"""Arguments of networks, of the forward process and of losses."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, MultipleOf

from hmgdm_monai.tasks.configs.settings.part import Part
from hmgdm_monai.tasks.configs.settings.types import (
    Choices,
    Count,
    Flag,
    InnerShare,
    Listed,
    NaturalNumber,
    NotNegative,
    Off,
    OrNone,
    Positive,
    Real,
    Share,
    ShareBelowOne,
    Whole,
    setting,
)

HiddenEntities = Annotated[str, Choices("hmgdm_monai.networks.layers.graph_layer.HIDDEN_ENTITIES")]
Statistics = Listed[Annotated[str, Choices("hmgdm_monai.networks.layers.readout.STATISTICS")]]
TokenReadout = Annotated[str, Choices("hmgdm_monai.networks.encoders.vit_tile_encoder.READOUTS")]
MultipleOf4 = Annotated[Whole, Ge(4), MultipleOf(4)]
Dropout = ShareBelowOne


class NoisingPart(Part):
    """The forward process of the diffusion."""

    targets = ("hmgdm_monai.diffusion.noising.Noising",)
    noise_intensity: Annotated[str, Choices("hmgdm_monai.diffusion.noising.NOISE_INTENSITIES")] = setting(
        "`dynamic`: a new timestep for each graph and step; `fixed`: always T/2 (the paper's ablation).", paper=""
    )
    fixed_timestep: OrNone[NaturalNumber] = setting("Timestep for `fixed`; `null` for T/2.")


class SchedulerPart(Part):
    """Its schedule, `DDPMScheduler` of diffusers."""

    targets = ("diffusers.DDPMScheduler",)
    num_train_timesteps: Count = setting("Number of timesteps T of the diffusion.", paper="")
    beta_start: InnerShare = setting("First beta of the schedule.", paper="")
    beta_end: InnerShare = setting(
        "Last beta. With the paper's, 37 % of the signal's power is left at the last step; with ours, 0.004 %.",
        paper="0.002",
    )
    beta_schedule: Any = setting("Shape of the schedule.", paper="")
    prediction_type: Any = setting(
        "What the denoiser predicts: the clean latents (`sample`), the noise (`epsilon`) or the velocity.", paper=""
    )
    clip_sample: Off = setting("Clip predicted latents. Must be `false`: latents have no fixed range.", paper="")


class HMGDMPart(Part):
    """Encoder and denoiser."""

    targets = ("hmgdm_monai.networks.methods.build.build_hmgdm",)
    latent_dim: Count = setting("Size of the latents, that of the entity encoder.", paper="")
    hidden_dim: Count = setting("Size of the states of vertices and edges.", paper="256")
    num_layers: Count = setting("Number of layers of encoder and denoiser.", paper="3")
    heads: Count = setting("Number of attention heads of the denoiser; must divide `hidden_dim`.", paper="")
    self_attention_depth: NaturalNumber = setting(
        "Number of self-attention blocks of the denoiser, over visible and noisy entities together.", paper="2"
    )
    mask_ratio: InnerShare = setting("Share of the vertices, and of the edges, that are hidden at each step.", paper="")
    skip_connections: Flag = setting(
        "Each decoder block sees its own encoder layer; `false` is the paper's ablation: all see the last.", paper=""
    )
    hidden_entities: HiddenEntities = setting(
        "How hidden entities take part in the encoder: with a learned mask token (`token`), only receiving messages "
        "(`adjacency`), or without any edge to them (`induced`)."
    )
    use_positions: Flag = setting("The encoder gets the position of each entity in the tile.", paper="")
    bottleneck: Flag = setting(
        "Whether the encoder ends in a Gaussian bottleneck: if `bottleneck_kl_weight` is above 0.", paper=""
    )
    readout: Statistics = setting(
        "Statistics that make the embedding: of the states of vertices (`mean`, `std`, `max`) and edges (`edge_mean`), "
        "and of the latents that the encoder gets (`latent_mean`, `latent_std`). Any of them."
    )


class GraphMAEPart(Part):
    """Masked autoencoder of graphs."""

    targets = ("hmgdm_monai.networks.methods.build.build_graph_mae",)
    hidden_dim: Count = setting("Size of the states of vertices and edges.")
    num_layers: Count = setting("Number of layers of the encoder.")
    mask_ratio: InnerShare = setting("Share of the vertices that are hidden at each step.")
    decoder_layers: Count = setting("Number of graph layers of the decoder.")
    hidden_entities: HiddenEntities = setting("See `build_hmgdm`.")
    readout: Statistics = setting("Statistics that make the embedding. Any of them.")


class WindowAutoencoderPart(Part):
    """The paper's encoder of entities."""

    targets = ("hmgdm_monai.entities.window_autoencoder.WindowAutoencoder",)
    window_px: Annotated[Whole, Ge(8)] = setting("Side of the window around an entity, in px of the tile.", paper="")
    widths: Listed[Annotated[Whole, Ge(8), MultipleOf(8)]] = setting("Number of channels at each resolution.")
    latent_channels: Count = setting("Number of channels of the latent.")


class DiRLPart(Part):
    """Student and teacher, heads for images and regions."""

    targets = ("hmgdm_monai.networks.methods.dirl.DiRL",)
    method: Annotated[str, Choices("hmgdm_monai.networks.methods.dirl.METHODS")] = setting(
        "`dino`: a momentum teacher sets the targets, with centering. `contrastive`: images, and regions, are "
        "distinguished from others (InfoNCE); `baselines/simclr.json` sets this method and its losses."
    )
    head_hidden: Count = setting("Width of the heads.")
    projection_dim: Count = setting("Size of the contrastive projection, and of the bottleneck before the prototypes.")
    teacher_momentum: ShareBelowOne = setting("Share of the teacher's weights that is kept at each step.")
    min_region_mass: Positive = setting("Minimum area of a matched region, in patches.")
    readout: TokenReadout = setting("Embedding: `mean` of the patch tokens, class token (`cls`), or both.")


class TileViTPart(Part):
    """The transformer. Later it sees whole tiles; its positions are interpolated to more patches than in training."""

    targets = (
        "hmgdm_monai.networks.encoders.tile_vit.TileViT",
        "hmgdm_monai.networks.encoders.backbone_vit.BackboneViT",
    )
    patch_px: Count = setting("Side of a patch, in px; must divide `view_px` and `tile_size_px`.")
    hidden_dim: MultipleOf4 = setting("Size of a token.")
    num_layers: Count = setting("Number of layers.")
    heads: Count = setting("Number of attention heads; must divide `hidden_dim`.")
    mlp_ratio: Count = setting("Width of the hidden layer of the MLPs, as a multiple of `hidden_dim`.")


class MaskedAutoencoderPart(Part):
    """Masked autoencoder of images."""

    targets = ("hmgdm_monai.networks.methods.masked_autoencoder.MaskedAutoencoder",)
    decoder_dim: MultipleOf4 = setting("Size of the states of the decoder.")
    decoder_layers: Count = setting("Number of blocks of the decoder.")
    decoder_heads: Count = setting("Number of attention heads of the decoder; must divide `decoder_dim`.")
    mask_ratio: InnerShare = setting("Share of the patches that are hidden.")
    patch_norm: Flag = setting("Targets are the pixels of each patch, standardized.")
    readout: TokenReadout = setting("Embedding: `mean` of the patch tokens, class token (`cls`), or both.")


class MaskedGraphLossPart(Part):
    """Loss of the masked graph diffusion."""

    targets = ("hmgdm_monai.losses.masked_graph.MaskedGraphLoss",)
    edge_weight: Share = setting("Share of the edges in the error; the vertices have the rest.")
    kl_weight: NotNegative = setting("Weight of the bottleneck's KL divergence.")


class WindowAutoencoderLossPart(Part):
    """Loss of the window autoencoder."""

    targets = ("hmgdm_monai.losses.window_autoencoder.WindowAutoencoderLoss",)
    beta: NotNegative = setting("Weight of the KL divergence.")
    pixel_variance: Positive = setting("Variance of a pixel around its reconstruction.")


class ScaledCosineLossPart(Part):
    """Loss of the masked autoencoder of graphs."""

    targets = ("hmgdm_monai.losses.scaled_cosine.ScaledCosineLoss",)
    gamma: Annotated[Real, Ge(1)] = setting("Exponent of the error.")


class DINOLossPart(Part):
    """DINO's loss of images or of regions."""

    targets = ("hmgdm_monai.losses.dino.DINOLoss", "hmgdm_monai.losses.dense_matching.DenseDINOLoss")
    student_temperature: Positive = setting("Temperature of the student's softmax.")
    teacher_temperature: Positive = setting("Temperature of the teacher's softmax.")
    center_momentum: Share = setting("Share of the center that is kept at each step.")


class ContrastiveLossPart(Part):
    """Contrastive loss of images or of regions."""

    targets = (
        "hmgdm_monai.losses.info_nce.GlobalContrastiveLoss",
        "hmgdm_monai.losses.dense_matching.DenseContrastiveLoss",
    )
    temperature: Positive = setting("Temperature of the similarities.")
    negatives: Annotated[str, Choices("hmgdm_monai.losses.dense_matching.NEGATIVES")] = setting(
        "Regions: the negatives of a region."
    )
