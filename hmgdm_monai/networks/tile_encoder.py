"""What classification, survival, inference and maps ask of a pretrained encoder, whichever method trained it."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data


class TileEncoder(nn.Module, ABC):
    """Tiles to embeddings, in steps that can be stored in between.

    A tile becomes a *sample* (:attr:`to_sample`: an entity graph with windows, or the image), samples a batch, the
    batch goes through what downstream never trains (:meth:`prepare`), and the rest gives states of *entities* (the
    vertices of a graph, the tokens of a transformer) or their pooled embedding.

    Args:
        settings: what the networks were built from, as JSON knows it.
        run_settings: of the run that trained them; ``run_settings["data"]`` says how tiles are made.
    """

    kind: ClassVar[str]
    # Weights that no embedding depends on, by the beginning of their names.
    pretext_weights: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Mapping[str, Any], run_settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings, self.run_settings = copy.deepcopy(dict(settings)), copy.deepcopy(dict(run_settings))

    @classmethod
    @abstractmethod
    def build(cls, settings: Mapping[str, Any], run_settings: Mapping[str, Any]) -> TileEncoder:
        """An untrained one from ``settings``."""

    @property
    @abstractmethod
    def to_sample(self) -> Callable[..., Data]:
        """``to_sample(image (3, S, S) uint8, keep_label_map=False)``: a tile as the networks take it, on the CPU.

        Picklable and without weights, for workers. With ``keep_label_map`` the sample has a ``label_map`` (1, S, S)
        int32, the entity of each pixel, by which values of entities are painted.
        """

    @property
    @abstractmethod
    def state_dim(self) -> int:
        """D, size of an entity's state."""

    @abstractmethod
    def prepare(self, samples: Data) -> Data:
        """Samples through the frozen part, as :meth:`states` and :meth:`embed` take them."""

    @abstractmethod
    def states(self, prepared: Data) -> tuple[Tensor, Tensor, int]:
        """States (N, D) of all entities, the tile (N,) of each, and B, the number of tiles."""

    @abstractmethod
    def embed(self, prepared: Data) -> Tensor:
        """Embeddings (B, S)."""

    @abstractmethod
    def trunk(self) -> TileEncoder:
        """A copy with weights of its own, without what only pretraining needs."""

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What fine-tuning may train: all but the frozen part."""
        return list(self.parameters())

    def samples(self, images: Tensor) -> Batch:
        """Images (B, 3, S, S) of values 0 to 255 as a batch of samples, made on the CPU one by one, on their device.

        Raises:
            ValueError: images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"tiles must be images (B, 3, S, S), got {tuple(images.shape)}")
        pixels = images.detach().round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return Batch.from_data_list([self.to_sample(image) for image in pixels]).to(images.device)

    def forward(self, tiles: Tensor | Data) -> Tensor:
        """Embeddings (B, S) of images (B, 3, S, S) of values 0 to 255, or of a batch of samples."""
        return self.embed(self.prepare(self.samples(tiles) if isinstance(tiles, Tensor) else tiles))

    def digest(self) -> str:
        """SHA-256 of all that an embedding depends on but the making of tiles: weights, and choices without any."""
        sha = hashlib.sha256(repr(self._choices()).encode())
        for name, value in sorted(self.state_dict().items()):
            if not name.startswith(self.pretext_weights):
                sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()

    def _choices(self) -> tuple[Any, ...]:
        """Settings that change an embedding and leave the weights' names and shapes as they are."""
        return (self.kind,)
