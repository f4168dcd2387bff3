"""The window autoencoder's loss against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.losses.window_autoencoder import WindowAutoencoderLoss


def test_equals_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.rand(shape, generator=generator) for shape in ((5, 3, 4, 4), (5, 3, 4, 4), ())]
    made, real, kl = (part.double().numpy() for part in parts)
    expected = np.square(made - real).mean() / 0.05 + 0.3 * kl
    assert WindowAutoencoderLoss(beta=0.3, pixel_variance=0.05)(*parts).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [{"beta": -1.0}, {"beta": float("nan")}, {"pixel_variance": 0.0}])
def test_faults(kind: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        WindowAutoencoderLoss(**kind)
