"""Vision transformers that the package transformers can read, from a folder or the hub."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmgdm_monai.entities.backbones.backbone import weights_digest
from hmgdm_monai.entities.backbones.external_backbone import ExternalBackbone, tokens_as_map
from hmgdm_monai.errors import InputError

_SCALE_FILE = "preprocessor_config.json"
# Weights that a checkpoint may lack, because patch tokens do not depend on them.
_UNUSED = ("pooler", "mask_token")


class TransformersBackbone(ExternalBackbone):
    """Patch tokens of a vision transformer (DINOv2, DINOv2 with registers, ViT) as maps, read by transformers.

    Only weights and settings are read from the folder or the hub, never code. The network is not a submodule, so no
    state dict contains it; it still moves to another device with this module.

    Args:
        name: a folder, or a name on the hub, for example "owkin/phikon-v2".
        resize_px: see the base class. Sides of tiles must be multiples of the patch size.
        digest: digest that the weights must have; None accepts any weights.
        layers: indices of the hidden states to return, one map each: 0 is the input of the first block, n the output
            of the n-th, before the final normalization. None returns the last one after the normalization.
        mean: mean color of tiles in [0, 1]; None reads it from the preprocessor file next to the weights.
        std: standard deviation of the colors; None reads it from the same file.

    Raises:
        InputError: transformers or the network is missing, or the network is of another kind or has another digest.

    Example:
        >>> backbone = TransformersBackbone("owkin/phikon-v2", resize_px=224)
        >>> (tokens,) = backbone(torch.zeros(2, 3, 256, 256))  # (2, 1024, 14, 14)
    """

    _network: Any

    def __init__(
        self,
        name: str,
        resize_px: int | None = None,
        digest: str | None = None,
        layers: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(name, resize_px)
        network = _read_network(name)
        config = network.config
        self._patch = _patch_px(name, config)
        self._prefix = 1 + int(getattr(config, "num_register_tokens", 0) or 0)
        depth = int(config.num_hidden_layers)
        if layers is not None and (not layers or not set(layers) <= set(range(depth + 1))):
            raise InputError(f"backbone {name}: layers must be some of 0 to {depth}, not {list(layers)}")
        self.layers = None if layers is None else tuple(sorted(set(layers)))
        self._width = int(config.hidden_size)
        self._takes_any_size = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
        self._keep_digest(weights_digest(network), digest)
        self._keep_scale(*(_read_scale(name) if mean is None and std is None else (mean, std)))
        self.__dict__["_network"] = network  # not registered as a submodule

    @property
    def channels(self) -> int:
        """Number of channels C: size of a token times the number of hidden states."""
        return self._width * (1 if self.layers is None else len(self.layers))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The constructor arguments and the digest of the weights, as JSON values."""
        return {
            "name": self.name,
            "resize_px": self.resize_px,
            "layers": None if self.layers is None else list(self.layers),
            **self._scale,
            "digest": self.digest(),
        }

    def maps(self, images: Tensor) -> list[Tensor]:
        """Compute the patch tokens of the selected hidden states.

        Raises:
            InputError: the sides are not multiples of the patch size, or the number of tokens is unexpected.
        """
        grid = self._grid((int(images.shape[2]), int(images.shape[3])))
        if len(images) == 0:  # transformers cannot run empty batches
            return [images.new_zeros(0, self._width, *grid) for _ in self.layers or (0,)]
        options = {"interpolate_pos_encoding": True} if self._takes_any_size else {}
        inputs = self._scaled(images).to(self._network.dtype)
        output = self._network(pixel_values=inputs, output_hidden_states=self.layers is not None, **options)
        states = [output.last_hidden_state] if self.layers is None else [output.hidden_states[n] for n in self.layers]
        wanted = (len(images), self._prefix + grid[0] * grid[1], self._width)
        for one in states:
            if tuple(one.shape) != wanted:
                raise InputError(
                    f"backbone {self.name}: gives {tuple(one.shape)} on tiles of {images.shape[2]} x {images.shape[3]} "
                    f"px; wanted {wanted}: {self._prefix} class and register tokens, {grid[0]} x {grid[1]} patches"
                )
        return [tokens_as_map(one[:, self._prefix :].float(), grid) for one in states]

    def _grid(self, sides: tuple[int, int]) -> tuple[int, int]:
        """Number of patches (h, w) of tiles with sides (H, W)."""
        if any(side < patch or side % patch for side, patch in zip(sides, self._patch, strict=True)):
            nearest = max(1, round(sides[0] / self._patch[0])) * self._patch[0]
            raise InputError(
                f"backbone {self.name}: tiles of {sides[0]} x {sides[1]} px do not divide into patches of "
                f"{self._patch[0]} x {self._patch[1]} px; set resize_px to a multiple of it, e.g. {nearest}"
            )
        return sides[0] // self._patch[0], sides[1] // self._patch[1]

    def _apply(self, fn: Any, recurse: bool = True) -> TransformersBackbone:
        # Called by .to(), .cuda() and .double(), which would not move the network, because it is no submodule.
        self._network._apply(fn, recurse)
        return super()._apply(fn, recurse)


def _read_network(name: str) -> Any:
    """Read the network, frozen, in float32 on the CPU."""
    try:
        from transformers import AutoModel
        from transformers.utils import logging
    except ImportError:
        raise InputError(f"backbone {name}: needs a package that is missing; pip install transformers") from None
    if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1):
        raise InputError(f"backbone {name}: there is no such folder; give one, or a name on the hub (owner/name)")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it suggests training missing weights; missing weights that matter raise below
    try:
        network, report = AutoModel.from_pretrained(
            name,
            dtype=torch.float32,
            trust_remote_code=False,
            weights_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # files of other programs can raise any kind of error
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"backbone {name}: transformers cannot read it ({reason}); give a folder or hub name of a DINOv2 or ViT"
        ) from None
    finally:
        logging.set_verbosity(verbosity)
    missing = sorted(report["missing_keys"])
    needed = [key for key in missing if not any(part in _UNUSED for part in key.split("."))]
    if needed:
        raise InputError(
            f"backbone {name}: its weights lack {len(needed)} of the network, e.g. {needed[0]}; give complete weights"
        )
    network.requires_grad_(False).eval()
    for key in missing:  # initialized at random; set to zero so that the digest is always the same
        network.state_dict()[key].zero_()
    return network


def _patch_px(name: str, config: Any) -> tuple[int, int]:
    patch = getattr(config, "patch_size", None)
    sides = [patch, patch] if isinstance(patch, int) else patch
    is_plain = all(hasattr(config, one) for one in ("hidden_size", "num_hidden_layers"))
    if not is_plain or not isinstance(sides, list | tuple) or len(sides) != 2:
        raise InputError(
            f"backbone {name}: is a {config.model_type}; give a DINOv2 or ViT, or export the network to a file, see "
            "docs/backbones.md"
        )
    return int(sides[0]), int(sides[1])


def _read_scale(name: str) -> tuple[list[float], list[float]]:
    """Read mean and standard deviation from the preprocessor file next to the weights."""
    from transformers.utils import cached_file

    try:
        found = cached_file(name, _SCALE_FILE)
        if found is None:
            raise FileNotFoundError(_SCALE_FILE)
        scale = json.loads(Path(found).read_text())
        return scale["image_mean"], scale["image_std"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"backbone {name}: has no {_SCALE_FILE} with image_mean and image_std; give mean and std in its settings"
        ) from None
