"""What classification, survival, inference and maps ask of a pretrained encoder, whichever method trained it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.json_tensor import json_to_tensor, tensor_to_json
from hmgdm_monai.errors import InputError


class TileEncoder(nn.Module, ABC):
    """Tiles to embeddings, in steps that can be stored in between.

    A tile becomes a *sample* (:attr:`to_sample`: an entity graph, or the image), samples a batch, the
    batch goes through what downstream never trains (:meth:`prepare`), and the rest gives states of *entities* (the
    vertices of a graph, the tokens of a transformer) or their pooled embedding.

    Args:
        settings: what the networks were built from, as JSON knows it.
        run_settings: of the run that trained them; ``run_settings["recipe"]`` says how tiles are made.

    Example:
        >>> import torch
        >>> from hmgdm_monai import load_encoder
        >>> encoder = load_encoder()  # the one that the bundle ships; a TileEncoder
        >>> side = encoder.tile_size_px
        >>> with torch.inference_mode():
        ...     embeddings = encoder(torch.randint(0, 256, (2, 3, side, side)))
        >>> len(embeddings)
        2
    """

    kind: ClassVar[str]
    # Weights that no embedding depends on, by the beginning of their names.
    pretext_weights: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Mapping[str, Any], run_settings: Mapping[str, Any]) -> None:
        super().__init__()
        # By way of JSON: as they come back from a file.
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self.run_settings: dict[str, Any] = json.loads(json.dumps(dict(run_settings)))

    @property
    @abstractmethod
    def to_sample(self) -> Callable[..., Data]:
        """``to_sample(image (3, S, S) uint8, keep_label_map=False)``: a tile as the networks take it, on the CPU.

        Picklable and without weights, for workers. With ``keep_label_map`` the sample has a ``label_map`` (1, S, S)
        int32, the entity of each pixel, by which values of entities are painted. With an attribute ``reads_cells`` it
        takes ``outlines`` (S, S) of cells, too.
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
    def without_pretext(self) -> TileEncoder:
        """A copy with weights of its own, without what only pretraining needs."""

    @property
    def tile_size_px(self) -> int | None:
        """S, side of the tiles that it was trained on, px; None where tiles may be of any size."""
        found: int | None = self.run_settings.get("recipe", {}).get("tile_spec", {}).get("size_px")
        return found

    @property
    def tile_mpp(self) -> float | None:
        """Microns per pixel of those tiles; None where the settings do not tell."""
        found: float | None = self.run_settings.get("recipe", {}).get("tile_spec", {}).get("mpp")
        return found

    def prepares_as(self, other: TileEncoder) -> bool:
        """Whether samples that one of both has prepared are good for the other."""
        return self.kind == other.kind

    def trainable_parameters(self) -> list[nn.Parameter]:
        """What fine-tuning may train: all but the frozen part."""
        return list(self.parameters())

    def check_images(self, images: Tensor) -> None:
        """Raise an InputError for images that are not (B, 3, S, S), S the side of the tiles of training."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"tiles must be images (B, 3, S, S), got {tuple(images.shape)}")
        side = self.tile_size_px
        if side is not None and tuple(images.shape[2:]) != (side, side):
            raise InputError(
                f"tiles must be of {side} x {side} px, as the encoder was trained, not {tuple(images.shape[2:])}; "
                "read them at its size and mpp"
            )

    def samples(self, images: Tensor) -> Data:
        """Images (B, 3, S, S) of values 0 to 255 as a batch of samples, made on the CPU one by one, on their device.

        Raises:
            InputError: images of another shape, or of another size than the encoder was trained on; or a call within
                a trace, which would keep the sample of the one image that it has seen.
        """
        self.check_images(images)
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            raise InputError(
                "what is made of a tile outside of tensors (superpixels, stain) cannot be exported with the network; "
                "scripts/export_model.py exports what can be"
            )
        pixels = images.detach().round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return Batch.from_data_list([self.to_sample(image) for image in pixels]).to(images.device)

    def forward(self, tiles: Tensor | Data) -> Tensor:
        """Embeddings (B, S) of images (B, 3, S, S) of values 0 to 255, or of a batch of samples."""
        return self.embed(self.prepare(self.samples(tiles) if isinstance(tiles, Tensor) else tiles))

    def get_extra_state(self) -> Tensor:
        """What the encoder is built from, among its weights: (N,) uint8 of JSON; PyTorch's hook of ``state_dict``."""
        return json_to_tensor(self.description())

    def set_extra_state(self, state: Tensor) -> None:
        """Take over how tiles are made, from the weights of a like encoder; PyTorch's hook of ``load_state_dict``.

        Args:
            state: (N,) uint8, of :meth:`get_extra_state`, or with more from a model file.

        Raises:
            InputError: the weights are of an encoder with other settings.
        """
        description = tensor_to_json(state)
        if (description.get("kind"), description.get("settings")) != (self.kind, self.settings):
            raise InputError(
                "these weights are of an encoder with other settings; build the network from their own file, "
                "by load_encoder or load_classifier"
            )
        self.run_settings = description["run_settings"]
        self.__dict__.pop("to_sample", None)  # was made by the former ones

    def description(self) -> dict[str, Any]:
        """What the encoder is built from: kind, settings, run settings."""
        return {"kind": self.kind, "settings": self.settings, "run_settings": self.run_settings}

    def weights(self) -> dict[str, Tensor]:
        """The state dict without the description."""
        return {name: value for name, value in self.state_dict().items() if name != "_extra_state"}

    def digest(self) -> str:
        """SHA-256 of all that an embedding depends on but the making of tiles: weights, and choices without any."""
        sha = hashlib.sha256(repr(self._choices()).encode())
        for name, value in sorted(self.weights().items()):
            if not name.startswith(self.pretext_weights):
                sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()

    def _choices(self) -> tuple[Any, ...]:
        """Settings that change an embedding and leave the weights' names and shapes as they are."""
        return (self.kind,)
