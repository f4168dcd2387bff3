"""A vision transformer as an encoder of tiles; its entities are patches."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.networks.encoders.tile_sample import TileToImage, transforms_of
from hmgdm_monai.networks.encoders.tile_vit import TileViT
from hmgdm_monai.transforms.tile_transforms import image_transforms

READOUTS = ("mean", "cls", "both")


class ViTTileEncoder(TileEncoder):
    """Images to tokens to embeddings. No part is frozen, so samples are prepared as they are.

    Args:
        vit: the network.
        settings: ``{"vit": arguments of TileViT, "readout": "mean"}``. The embedding is the mean over patch tokens,
            the class token ("cls"), or one after the other ("both").
        run_settings: see the base class.

    Raises:
        ValueError: another readout.
    """

    kind = "vit"

    def __init__(self, vit: TileViT, settings: Mapping[str, Any], run_settings: Mapping[str, Any]) -> None:
        super().__init__(settings, run_settings)
        self.readout = self.settings["readout"]
        if self.readout not in READOUTS:
            raise ValueError(f"readout must be one of {READOUTS}, got {self.readout!r}")
        self.vit = vit

    @cached_property
    def to_sample(self) -> TileToImage:
        """Makes the images that the network was trained on."""
        transforms = image_transforms(transforms_of(self.run_settings))
        return TileToImage(self.vit.patch_px, transforms if len(transforms) else None)

    @property
    def state_dim(self) -> int:
        """D, the transformer's."""
        return self.vit.hidden_dim

    def samples(self, images: Tensor) -> Data:
        """See the base class. Where nothing changes the image, by tensors alone: it can be traced and exported."""
        if self.to_sample.transforms is not None:
            return super().samples(images)
        self.check_images(images)
        return Data(image=images.round().clamp(0, 255))

    def prepare(self, samples: Data) -> Data:
        """Samples as they are: the whole network can be fine-tuned."""
        return samples

    def states(self, prepared: Data) -> tuple[Tensor, Tensor, int]:
        """States (N, D) of all patches, the tile (N,) of each, and B."""
        _, tokens = self.vit(pixels(prepared))
        tile = torch.arange(len(tokens), device=tokens.device).repeat_interleave(tokens.shape[1])
        return tokens.flatten(0, 1), tile, len(tokens)

    def embed(self, prepared: Data) -> Tensor:
        """Embeddings (B, S)."""
        class_token, tokens = self.vit(pixels(prepared))
        return read_out(class_token, tokens, self.readout)

    def attention(self, prepared: Data) -> Tensor:
        """The class token's attention (B, H, N) to the patches of each tile, by head; see :meth:`TileViT.attention`."""
        return self.vit.attention(pixels(prepared))

    def without_pretext(self) -> ViTTileEncoder:
        """A copy."""
        return copy.deepcopy(self)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """All but the table of positions, which is fixed."""
        fixed = self.vit.vit.patch_embedding.position_embeddings
        return [parameter for parameter in self.parameters() if parameter is not fixed]

    def _choices(self) -> tuple[Any, ...]:
        return (self.kind, self.readout)


def pixels(samples: Data) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] of a batch of samples."""
    return samples.image.float() / 255.0


def read_out(class_token: Tensor, tokens: Tensor, readout: str) -> Tensor:
    """Embedding (B, S) of a class token (B, D) and patch tokens (B, N, D); see :class:`ViTTileEncoder`."""
    if readout == "cls":
        return class_token
    mean = tokens.mean(1)
    return mean if readout == "mean" else torch.cat((class_token, mean), 1)
