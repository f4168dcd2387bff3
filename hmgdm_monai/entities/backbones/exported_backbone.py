"""Any encoder that was exported to a file by torch.export, TorchScript or ONNX."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hmgdm_monai.entities.backbones.exported_file import Run, exported_digest, open_exported
from hmgdm_monai.entities.backbones.external_backbone import ExternalBackbone, tokens_as_map
from hmgdm_monai.errors import InputError

_WANTED = "wanted maps (B, C, h, w) or tokens (B, N, C) of floats"
_USUAL_PX = 224  # side of the blank test tile if resize_px is not given
_MOST_PREFIX_TOKENS = 32  # maximum number tried for a hint


class _Opened(NamedTuple):
    """A file that one process has opened for one device."""

    process: int
    device: torch.device
    run: Run


class ExportedBackbone(ExternalBackbone):
    """Maps or patch tokens of a network in a file whose input is tiles (B, 3, S, S) of float32.

    Its output is one or several (a tuple or list) of maps (B, C, h, w) or tokens (B, N, C), ordered row by row.

    If a file accepts only one tile at a time, tiles are run one by one. Each process opens the file itself. The content
    of the file is neither pickled nor stored in model.pt.

    Args:
        name: path of the file: ``.pt2`` by ``torch.export``, ``.pt`` or ``.ts`` by TorchScript, or ``.onnx``.
        resize_px: see the base class.
        mean: mean color of tiles in [0, 1]; tiles are standardized by mean and deviation. None keeps them in [0, 1].
        std: standard deviation of the colors; None if and only if ``mean`` is None.
        prefix_tokens: number of tokens before the patch tokens: class and register tokens.
        digest: SHA-256 that the file must have; None accepts any file.

    Raises:
        InputError: the file does not exist, is of another kind, cannot be run, has another output, or has another
            digest.

    Example:
        >>> backbone = ExportedBackbone("uni.pt2", resize_px=224, prefix_tokens=1)
        >>> (tokens,) = backbone(torch.zeros(2, 3, 256, 256))  # (2, 1024, 14, 14)
    """

    def __init__(
        self,
        name: str,
        resize_px: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        prefix_tokens: int = 0,
        digest: str | None = None,
    ) -> None:
        super().__init__(name, resize_px)
        if prefix_tokens < 0:
            raise InputError(f"backbone {name}: prefix_tokens must be at least 0, not {prefix_tokens}")
        self.prefix_tokens = prefix_tokens
        self._keep_scale(mean, std)
        self._keep_digest(exported_digest(Path(name)), digest)
        self._opened: _Opened | None = None
        side = resize_px or _USUAL_PX
        blank = torch.zeros(2, 3, side, side)
        self._map_channels = tuple(one.shape[1] for one in self._run(blank[:1]))
        try:
            self._run(blank)
            self._one_by_one = False
        except InputError:
            self._one_by_one = True

    @property
    def channels(self) -> int:
        """Number of channels C of all maps together."""
        return sum(self._map_channels)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The constructor arguments and the digest of the file, as JSON values."""
        return {
            "name": self.name,
            "resize_px": self.resize_px,
            **self._scale,
            "prefix_tokens": self.prefix_tokens,
            "digest": self.digest(),
        }

    def maps(self, images: Tensor) -> list[Tensor]:
        """Run the file and return its output as maps.

        Raises:
            InputError: it cannot be run on these tiles, or its output differs from that for a blank tile.
        """
        if len(images) == 0:
            return [images.new_zeros(0, channels, 1, 1) for channels in self._map_channels]
        values = self._scaled(images)
        runs = [self._run(some) for some in (values.split(1) if self._one_by_one else [values])]
        for found in {tuple(one.shape[1] for one in maps) for maps in runs}:
            if found != self._map_channels:
                raise InputError(
                    f"backbone {self.name}: gives maps of {found} channels, on a blank tile of {self._map_channels}; "
                    "export it so that they do not depend on the tile"
                )
        return [torch.cat(parts) for parts in zip(*runs, strict=True)]

    def _run(self, values: Tensor) -> list[Tensor]:
        """Compute maps of standardized images."""
        if self._opened is None or self._opened[:2] != (os.getpid(), values.device):
            run = open_exported(Path(self.name), values.device)
            self._opened = _Opened(os.getpid(), values.device, run)
        try:
            with torch.no_grad():
                output = self._opened.run(values)
        except Exception as error:  # files of other programs can raise any kind of error
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"backbone {self.name}: cannot be run on {tuple(values.shape)} ({reason}); set resize_px to the side "
                "that it was exported for, and export it for any batch size or for 1"
            ) from None
        several = list(output) if isinstance(output, tuple | list) else [output]
        if not several:
            raise InputError(f"backbone {self.name}: gives nothing; {_WANTED}")
        return [self._as_map(one, values) for one in several]

    def _as_map(self, found: Any, values: Tensor) -> Tensor:
        """Convert one output to a map (B, C, h, w) float32."""
        if not isinstance(found, Tensor):
            raise InputError(f"backbone {self.name}: gives a {type(found).__name__}; {_WANTED}")
        came = f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}"
        if not found.is_floating_point() or found.ndim not in (3, 4) or len(found) != len(values) or 0 in found.shape:
            raise InputError(f"backbone {self.name}: gives {came} for {len(values)} tile(s); {_WANTED}")
        if found.ndim == 4:
            return found.float()
        sides = (int(values.shape[2]), int(values.shape[3]))
        count = int(found.shape[1])
        grid = _grid_of(count - self.prefix_tokens, sides)
        if grid is None:
            fitting = [n for n in range(_MOST_PREFIX_TOKENS + 1) if _grid_of(count - n, sides)]
            hint = f"; prefix_tokens {fitting[0]} would fit" if fitting else ""
            raise InputError(
                f"backbone {self.name}: gives {came}, {count - self.prefix_tokens} tokens after {self.prefix_tokens} "
                f"prefix tokens; wanted a grid of tokens in the shape of the tile{hint}"
            )
        return tokens_as_map(found[:, self.prefix_tokens :].float(), grid)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}


def _grid_of(count: int, sides: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of ``count`` square patches on a tile with these sides; None if they do not fill the tile."""
    if count < 1:
        return None
    rows = max(1, round((count * sides[0] / sides[1]) ** 0.5))
    columns = count // rows
    fills = rows * columns == count and rows * sides[1] == columns * sides[0]
    return (rows, columns) if fills else None
