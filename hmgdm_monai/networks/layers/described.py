"""A network whose state dict says what the network is."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hmgdm_monai.data.files.json_tensor import json_to_tensor, tensor_to_json


class Described(nn.Module):
    """A network with a description in its state dict, as PyTorch's extra state.

    Attributes:
        about: what the file of the network says beside its weights; empty where it is from no file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.about: dict[str, Any] = {}

    def get_extra_state(self) -> Tensor:
        """:attr:`about` as (N,) uint8 of JSON; PyTorch's hook of ``state_dict``."""
        return json_to_tensor(self.about)

    def set_extra_state(self, state: Tensor) -> None:
        """Take :attr:`about` over; PyTorch's hook of ``load_state_dict``.

        Args:
            state: (N,) uint8, of :meth:`get_extra_state`.
        """
        self.about = tensor_to_json(state)
