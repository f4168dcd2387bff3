"""What backbones have in common whose weights stay in files of their own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hmgdm_monai.entities.backbones.backbone import Backbone
from hmgdm_monai.errors import InputError


class ExternalBackbone(Backbone):
    """A frozen network that model.pt names, with its digest, but does not carry: it must be at hand to use the model.

    Args:
        name: see the base class.
        resize_px: see the base class.

    Attributes:
        mean: of the red, green and blue of the tiles that it was trained on, in [0, 1]; None for no scaling.
        std: the same.
    """

    embedded = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    _digest = ""

    def digest(self) -> str:
        """SHA-256 of its weights, taken when they were read."""
        return self._digest

    def _keep_digest(self, found: str, wanted: str | None) -> None:
        """Keep the digest of the weights that were found.

        Raises:
            InputError: it is not the wanted one.
        """
        if wanted is not None and wanted != found:
            raise InputError(
                f"backbone {self.name}: its weights have the digest {str(found)[:12]}, wanted {str(wanted)[:12]}; "
                "give the weights that the model was trained on, or leave digest out to take these"
            )
        self._digest = found

    def _keep_scale(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Keep mean and deviation.

        Raises:
            InputError: one without the other, not three numbers each, or a deviation that is not above 0.
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
        """Mean and deviation for the settings."""
        both = {"mean": self.mean, "std": self.std}
        return {name: None if one is None else list(one) for name, one in both.items()}

    def _scaled(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) of 0 to 255 as the network was trained on them: in [0, 1], then by mean and deviation."""
        values = images / 255.0
        if self.mean is None or self.std is None:
            return values
        return (values - values.new_tensor(self.mean)[:, None, None]) / values.new_tensor(self.std)[:, None, None]


def tokens_as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """A map (B, C, h, w) of tokens (B, h * w, C), which run row by row."""
    return tokens.transpose(1, 2).unflatten(2, grid)
