"""Parts as a user's own package brings them: configs name them by their path."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import Tensor, nn


class Darkend(MapTransform):
    """Multiply a tile by a number below 1."""

    def __init__(self, keys: KeysCollection, share: float = 0.5, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.share = share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = (np.asarray(d[key]) * self.share).astype(np.uint8)
        return d


class AbsoluteLoss(nn.Module):
    """Mean absolute error of the hidden vertices alone."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, vertex_prediction: Tensor, vertex_target: Tensor, *others: Tensor | None) -> Tensor:
        return self.weight * (vertex_prediction - vertex_target).abs().mean()
