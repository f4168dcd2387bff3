"""The autoencoder's loss against plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.losses.entity_autoencoder import EntityAutoencoderLoss


@pytest.fixture
def parts() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 3, 4, 4), (5, 3, 4, 4), (5, 6), (5, 6), ())
    return [torch.rand(shape, generator=generator) for shape in shapes]


def test_equals_its_formula(parts: list[torch.Tensor]) -> None:
    made, real, texture_hat, texture, kl = (part.double().numpy() for part in parts)
    expected = np.square(made - real).mean() / 0.05 + 0.3 * kl + 2.0 * np.square(texture_hat - texture).mean()
    loss = EntityAutoencoderLoss(beta=0.3, texture_weight=2.0, pixel_variance=0.05)(*parts)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_without_texture_the_rest_stands(parts: list[torch.Tensor]) -> None:
    made, real, *_, kl = parts
    loss = EntityAutoencoderLoss(beta=0.3, texture_weight=2.0)
    assert loss(made, real, None, None, kl) == EntityAutoencoderLoss(beta=0.3, texture_weight=0.0)(*parts)
    assert loss(real, real, None, None, torch.zeros(())) == 0.0


@pytest.mark.parametrize("kind", [{"beta": -1.0}, {"texture_weight": -1.0}, {"pixel_variance": 0.0}])
def test_faults(kind: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        EntityAutoencoderLoss(**kind)
