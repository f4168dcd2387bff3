"""Interface of pretrained tile encoders for classification, survival, inference and maps, independent of the method."""

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
    """Compute embeddings from tiles, in steps whose intermediate results can be stored.

    A tile becomes a *sample* (:attr:`to_sample`: an entity graph, or the image), and samples form a batch. The batch
    goes through the part that is always frozen downstream (:meth:`prepare`). The rest of the network gives states of
    *entities* (the vertices of a graph, the tokens of a transformer) or their pooled embedding.

    Args:
        settings: constructor arguments of the networks, as JSON values.
        run_settings: settings of the training run; ``run_settings["recipe"]`` describes how tiles are made.

    Example:
        >>> import torch
        >>> from hmgdm_monai import load_encoder
        >>> encoder = load_encoder()  # the encoder shipped with the bundle; a TileEncoder
        >>> side = encoder.tile_size_px
        >>> with torch.inference_mode():
        ...     embeddings = encoder(torch.randint(0, 256, (2, 3, side, side)))
        >>> len(embeddings)
        2
    """

    kind: ClassVar[str]
    # Prefixes of the names of weights that do not influence embeddings.
    pretext_weights: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Mapping[str, Any], run_settings: Mapping[str, Any]) -> None:
        super().__init__()
        # Convert to JSON and back, so that values equal those read from a file.
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        self.run_settings: dict[str, Any] = json.loads(json.dumps(dict(run_settings)))

    @property
    @abstractmethod
    def to_sample(self) -> Callable[..., Data]:
        """``to_sample(image (3, S, S) uint8, keep_label_map=False)``: convert a tile to a sample, on the CPU.

        Picklable and without weights, for worker processes. With ``keep_label_map`` the sample has a ``label_map``
        (1, S, S) int32, the entity of each pixel, for painting maps. If it has an attribute ``reads_cells``, it also
        accepts cell ``outlines`` (S, S).
        """

    @property
    @abstractmethod
    def state_dim(self) -> int:
        """Size D of an entity's state."""

    @abstractmethod
    def prepare(self, samples: Data) -> Data:
        """Apply the frozen part to samples, as input of :meth:`states` and :meth:`embed`."""

    @abstractmethod
    def states(self, prepared: Data) -> tuple[Tensor, Tensor, int]:
        """States (N, D) of all entities, tile index (N,) of each, and the number of tiles B."""

    @abstractmethod
    def embed(self, prepared: Data) -> Tensor:
        """Compute the embeddings (B, S)."""

    @abstractmethod
    def embed_entities(self, prepared: Data) -> tuple[Tensor, Tensor]:
        """Embeddings (N, S) of single entities, and tile index (N,) of each.

        The mean of these embeddings over a tile is the embedding of the tile. So any linear function of embeddings is
        additive over entities: its value for a tile is the mean of its values for the entities.
        """

    @abstractmethod
    def without_pretext(self) -> TileEncoder:
        """Copy with its own weights, without the parts that only pretraining needs."""

    @property
    def tile_size_px(self) -> int | None:
        """Side S of the tiles of training, in px; None if tiles may have any size."""
        found: int | None = self.run_settings.get("recipe", {}).get("tile_spec", {}).get("size_px")
        return found

    @property
    def tile_mpp(self) -> float | None:
        """Microns per pixel of the tiles of training; None if the settings do not contain it."""
        found: float | None = self.run_settings.get("recipe", {}).get("tile_spec", {}).get("mpp")
        return found

    def prepares_as(self, other: TileEncoder) -> bool:
        """Whether samples that one of the two encoders has prepared can be used by the other."""
        return self.kind == other.kind

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The parameters for fine-tuning: all except the frozen part."""
        return list(self.parameters())

    def check_images(self, images: Tensor) -> None:
        """Raise an InputError if images are not (B, 3, S, S), with S the side of the tiles of training."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(f"tiles must be images (B, 3, S, S), got {tuple(images.shape)}")
        side = self.tile_size_px
        if side is not None and tuple(images.shape[2:]) != (side, side):
            raise InputError(
                f"tiles must be of {side} x {side} px, as the encoder was trained, not {tuple(images.shape[2:])}; "
                "read them at its size and mpp"
            )

    def samples(self, images: Tensor) -> Data:
        """Convert images (B, 3, S, S) with values 0 to 255 to a batch of samples, one by one on the CPU.

        The batch is on the device of the images.

        Raises:
            InputError: the images have another shape or size than the tiles of training, or the call is inside a trace,
                which would record the sample of a single image as a constant.
        """
        self.check_images(images)
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            raise InputError(
                "the steps outside of tensors (superpixels, stain) cannot be exported with the network; "
                "scripts/export_model.py exports what can be exported"
            )
        pixels = images.detach().round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return Batch.from_data_list([self.to_sample(image) for image in pixels]).to(images.device)

    def forward(self, tiles: Tensor | Data) -> Tensor:
        """Embeddings (B, S) of images (B, 3, S, S) with values 0 to 255, or of a batch of samples."""
        return self.embed(self.prepare(self.samples(tiles) if isinstance(tiles, Tensor) else tiles))

    def get_extra_state(self) -> Tensor:
        """Encode the description as JSON bytes (N,) uint8 among the weights; called by PyTorch's ``state_dict``."""
        return json_to_tensor(self.description())

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the run settings from the weights of an equal encoder; called by PyTorch's ``load_state_dict``.

        Args:
            state: (N,) uint8, output of :meth:`get_extra_state`, or with additional entries from a model file.

        Raises:
            InputError: the weights belong to an encoder with other settings.
        """
        description = tensor_to_json(state)
        if (description.get("kind"), description.get("settings")) != (self.kind, self.settings):
            raise InputError(
                "these weights are of an encoder with other settings; build the network from their own file, "
                "by load_encoder or load_classifier"
            )
        self.run_settings = description["run_settings"]
        self.__dict__.pop("to_sample", None)  # was built from the previous settings

    def description(self) -> dict[str, Any]:
        """Description of the encoder: kind, settings, run settings."""
        return {"kind": self.kind, "settings": self.settings, "run_settings": self.run_settings}

    def weights(self) -> dict[str, Tensor]:
        """The state dict without the description."""
        return {name: value for name, value in self.state_dict().items() if name != "_extra_state"}

    def digest(self) -> str:
        """SHA-256 of everything that influences an embedding of a sample: weights, and choices without weights."""
        sha = hashlib.sha256(repr(self._choices()).encode())
        for name, value in sorted(self.weights().items()):
            if not name.startswith(self.pretext_weights):
                sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()

    def _choices(self) -> tuple[Any, ...]:
        """Settings that change an embedding but not the names and shapes of the weights."""
        return (self.kind,)
