"""A network whose state dict contains a description of the network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hmgdm_monai.data.files.json_tensor import json_to_tensor, tensor_to_json


class Described(nn.Module):
    """A network with a description in its state dict, stored as PyTorch's extra state.

    Attributes:
        about: content of the network's file besides its weights; empty if it was not read from a file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.about: dict[str, Any] = {}

    def get_extra_state(self) -> Tensor:
        """Encode :attr:`about` as JSON bytes (N,) uint8; called by PyTorch's ``state_dict``."""
        return json_to_tensor(self.about)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore :attr:`about`; called by PyTorch's ``load_state_dict``.

        Args:
            state: (N,) uint8, output of :meth:`get_extra_state`.
        """
        self.about = tensor_to_json(state)
