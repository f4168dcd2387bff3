"""Scaled cosine error, and the error of patches, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.losses.masked_patches import MaskedPatchLoss
from hmgdm_monai.losses.scaled_cosine import ScaledCosineLoss


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_equals_numpy(gamma: float) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 7, 5))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    ours = ScaledCosineLoss(gamma)(torch.from_numpy(a), torch.from_numpy(b))
    assert ours.item() == pytest.approx(np.mean((1 - cosine) ** gamma), rel=1e-5)


def test_closed_forms_and_scale() -> None:
    a, b = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    loss = ScaledCosineLoss(2.0)
    assert loss(a, 3 * a).item() == pytest.approx(0, abs=1e-6)
    assert loss(a, -a).item() == pytest.approx(4, abs=1e-5)
    torch.testing.assert_close(loss(5 * a, b), loss(a, 0.1 * b))


def test_right_to_the_last_bit_has_a_gradient_and_nothing_hidden_is_finite() -> None:
    a = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ScaledCosineLoss(1.5)(a, a.detach()).backward()
    assert torch.isfinite(a.grad).all()
    assert ScaledCosineLoss()(a[:0], a[:0]).item() == 0


def test_a_gamma_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="gamma"):
        ScaledCosineLoss(0.5)


def test_patch_loss_equals_numpy() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    assert MaskedPatchLoss()(torch.from_numpy(a), torch.from_numpy(b)).item() == pytest.approx(
        np.mean((a - b) ** 2), rel=1e-6
    )
