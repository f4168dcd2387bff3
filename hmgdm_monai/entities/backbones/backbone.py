"""Interface of frozen backbones for entity encoders: feature maps of tiles."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmgdm_monai.entities.backbones.onnx_runner import OnnxRunner
from hmgdm_monai.errors import InputError


class Backbone(nn.Module, ABC):
    """A frozen network that computes feature maps of tiles.

    Args:
        name: name given by the user, for example "efficientnet_lite0" or the path of a file.
        resize_px: side to which tiles are resized first (bilinear, antialiased), in px; None keeps their size.

    Raises:
        InputError: ``resize_px`` is below 1.
    """

    # Whether model.pt contains the weights. For a large backbone it contains name and digest; the weights must exist.
    embedded: ClassVar[bool] = True
    # Whether onnxruntime is faster than PyTorch on a CPU.
    fast_on_cpu: ClassVar[bool] = False

    def __init__(self, name: str, resize_px: int | None = None) -> None:
        super().__init__()
        if resize_px is not None and resize_px < 1:
            raise InputError(f"backbone {name}: resize_px must be at least 1, not {resize_px}")
        self.name, self.resize_px = name, resize_px
        self._runner: OnnxRunner | None = None

    @property
    @abstractmethod
    def channels(self) -> int:
        """Number of channels C of all maps together."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Arguments of :func:`hmgdm_monai.entities.backbones.build`, as JSON values."""

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute feature maps (B, C_i, h_i, w_i) of images (B, 3, S, S), float32 with values 0 to 255."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute feature maps of tiles.

        Args:
            images: (B, 3, S, S), uint8 or float with values 0 to 255.

        Returns:
            Maps (B, C_i, h_i, w_i) float32; the sum of all C_i is :attr:`channels`.

        Raises:
            InputError: the backbone returns NaN or infinity, or a tile is too small for it.
        """
        images = images.float()
        if self.resize_px is not None and tuple(images.shape[2:]) != (self.resize_px, self.resize_px):
            size = (self.resize_px, self.resize_px)
            images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        traced = torch.compiler.is_exporting() or torch.jit.is_tracing()
        use_runtime = self.fast_on_cpu and images.device.type == "cpu" and not traced
        maps = self._cpu_maps(images) if use_runtime else self.maps(images)
        if not traced and not all(torch.isfinite(one.sum()) for one in maps):
            raise InputError(f"backbone {self.name}: gives NaN or infinity on these tiles; check its file and settings")
        return maps

    def _cpu_maps(self, images: Tensor) -> list[Tensor]:
        # Neither a submodule nor pickled: each process builds its own session, after the weights are final.
        if self._runner is None or self._runner.process != os.getpid():
            self._runner = OnnxRunner(self)
        return self._runner(images)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._runner = None  # it has the previous weights
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runner": None}

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode, so that running statistics do not change."""
        return super().train(False)

    def digest(self) -> str:
        """SHA-256 of the weights, in the order of their names."""
        return weights_digest(self)


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a module's weights: names, shapes and values."""
    sha = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
