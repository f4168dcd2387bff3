"""Base class of backbones whose weights are published in a package."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from hmgdm_monai.entities.backbones.backbone import Backbone
from hmgdm_monai.errors import InputError


class PublishedBackbone(Backbone):
    """A small network that returns the outputs of selected blocks; without weights until they are loaded.

    Args:
        name: see the base class.
        blocks: indices of the blocks whose outputs are returned.
        num_blocks: number of blocks; indices start at 0.
        resize_px: see the base class.

    Attributes:
        block_numbers: indices of the selected blocks, ascending, each once.

    Raises:
        InputError: a block does not exist.
    """

    block_numbers: tuple[int, ...]

    def __init__(self, name: str, blocks: Sequence[int], num_blocks: int, resize_px: int | None = None) -> None:
        super().__init__(name, resize_px)
        if not blocks or not set(blocks) <= set(range(num_blocks)):
            raise InputError(f"backbone {name}: blocks must be some of 0 to {num_blocks - 1}, not {list(blocks)}")
        self.block_numbers = tuple(sorted(set(blocks)))

    @property
    def settings(self) -> Mapping[str, Any]:
        """Name, blocks and size, as JSON values."""
        return {"name": self.name, "blocks": list(self.block_numbers), "resize_px": self.resize_px}

    @abstractmethod
    def load_published(self) -> Self:
        """Load the weights of the package, and return this backbone.

        Raises:
            InputError: the package is not installed.
        """
