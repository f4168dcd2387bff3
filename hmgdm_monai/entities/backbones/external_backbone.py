"""Base class of backbones whose weights stay in their own files."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hmgdm_monai.entities.backbones.backbone import Backbone
from hmgdm_monai.errors import InputError


class ExternalBackbone(Backbone):
    """A frozen network of which model.pt stores only name and digest; its weights must exist to use the model.

    Args:
        name: see the base class.
        resize_px: see the base class.

    Attributes:
        mean: mean of red, green and blue of its training tiles, in [0, 1]; None for no standardization.
        std: standard deviation of red, green and blue; None for no standardization.
    """

    embedded = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    _digest = ""

    def digest(self) -> str:
        """SHA-256 of its weights, computed when they were read."""
        return self._digest

    def _keep_digest(self, found: str, wanted: str | None) -> None:
        """Store the digest of the weights that were read.

        Raises:
            InputError: it differs from the wanted digest.
        """
        if wanted is not None and wanted != found:
            raise InputError(
                f"backbone {self.name}: its weights have the digest {str(found)[:12]}, wanted {str(wanted)[:12]}; "
                "give the weights that the model was trained on, or leave digest out to accept these"
            )
        self._digest = found

    def _keep_scale(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Store mean and standard deviation.

        Raises:
            InputError: one is missing, they do not have three numbers each, or a deviation is not above 0.
        """
        if mean is None and std is None:
            return
        numbers = [*(mean or ()), *(std or ())]
        plain = all(isinstance(one, int | float) for one in numbers)
        if mean is None or std is None or len(mean) != 3 or len(std) != 3 or not plain or min(std) <= 0:
            raise InputError(
                f"backbone {self.name}: mean and std must be three numbers each, of colors in [0, 1], std above 0; "
                f"got {mean} and {std}"
            )
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))

    @property
    def _scale(self) -> dict[str, list[float] | None]:
        """Mean and standard deviation for the settings."""
        both = {"mean": self.mean, "std": self.std}
        return {name: None if one is None else list(one) for name, one in both.items()}

    def _scaled(self, images: Tensor) -> Tensor:
        """Scale images (B, 3, S, S) from 0 to 255 to [0, 1], then standardize them by mean and deviation."""
        values = images / 255.0
        if self.mean is None or self.std is None:
            return values
        return (values - values.new_tensor(self.mean)[:, None, None]) / values.new_tensor(self.std)[:, None, None]


def tokens_as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Convert tokens (B, h * w, C), ordered row by row, to a map (B, C, h, w).

    Args:
        tokens: (B, h * w, C).
        grid: (h, w).
    """
    return tokens.transpose(1, 2).unflatten(2, grid)
