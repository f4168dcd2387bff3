"""A vision transformer as a tile encoder; its entities are patches."""

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
    """Compute tokens and embeddings from images. :meth:`prepare` does nothing; a backbone stays frozen inside.

    Args:
        vit: the network.
        settings: ``{"vit": arguments of TileViT, "readout": "mean"}``. The embedding is the mean over patch tokens
            ("mean"), the class token ("cls"), or both concatenated ("both").
        run_settings: see the base class.

    Raises:
        ValueError: the readout is unknown.
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
        """Prepares the images on which the network was trained."""
        transforms = image_transforms(transforms_of(self.run_settings))
        spec = self.run_settings.get("recipe", {}).get("tile_spec", {})
        return TileToImage(self.vit.patch_px, transforms if len(transforms) else None, spec.get("mpp"))

    @property
    def state_dim(self) -> int:
        """Size D of the transformer's tokens."""
        return self.vit.hidden_dim

    def samples(self, images: Tensor) -> Data:
        """See the base class. Without image transforms, only tensor operations are used, so it can be exported."""
        if self.to_sample.transforms is not None:
            return super().samples(images)
        self.check_images(images)
        return Data(image=images.round().clamp(0, 255))

    def prepare(self, samples: Data) -> Data:
        """Return samples unchanged: they are images."""
        return samples

    def states(self, prepared: Data) -> tuple[Tensor, Tensor, int]:
        """States (N, D) of all patches, tile index (N,) of each, and the number of tiles B."""
        _, tokens = self.vit(pixels(prepared))
        tile = torch.arange(len(tokens), device=tokens.device).repeat_interleave(tokens.shape[1])
        return tokens.flatten(0, 1), tile, len(tokens)

    def embed(self, prepared: Data) -> Tensor:
        """Compute the embeddings (B, S)."""
        class_token, tokens = self.vit(pixels(prepared))
        return read_out(class_token, tokens, self.readout)

    def embed_entities(self, prepared: Data) -> tuple[Tensor, Tensor]:
        """Embeddings (N, S) of patches: mean over patch tokens replaced by the patch's own token; see the base class.

        The class token describes the tile as a whole; all its patches share it equally.
        """
        class_token, tokens = self.vit(pixels(prepared))
        tiles, count, _ = tokens.shape
        tile = torch.arange(tiles, device=tokens.device).repeat_interleave(count)
        own = tokens.flatten(0, 1)
        shared = class_token[tile]
        parts = {"mean": (own,), "cls": (shared,), "both": (shared, own)}[self.readout]
        return torch.cat(parts, 1), tile

    def attention(self, prepared: Data) -> Tensor:
        """Attention (B, H, N) of the class token to the patches, by head; see :meth:`TileViT.attention`."""
        return self.vit.attention(pixels(prepared))

    def without_pretext(self) -> ViTTileEncoder:
        """Copy with its own weights."""
        return copy.deepcopy(self)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """All parameters except the table of positions, which is fixed, and those of a frozen backbone."""
        fixed = {id(one) for one in self.vit.fixed_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in fixed]

    def _choices(self) -> tuple[Any, ...]:
        return (self.kind, self.readout)


def pixels(samples: Data) -> Tensor:
    """Images (B, 3, S, S) in [0, 1] from a batch of samples."""
    return samples.image.float() / 255.0


def read_out(class_token: Tensor, tokens: Tensor, readout: str) -> Tensor:
    """Embedding (B, S) from a class token (B, D) and patch tokens (B, N, D); see :class:`ViTTileEncoder`."""
    if readout == "cls":
        return class_token
    mean = tokens.mean(1)
    return mean if readout == "mean" else torch.cat((class_token, mean), 1)
