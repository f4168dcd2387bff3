"""NT-Xent against a float64 loop and MONAI's loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.losses.info_nce import GlobalContrastiveLoss


def views(count: int = 6, channels: int = 5, seed: int = 0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(count, channels, generator=draw, dtype=torch.float64) for _ in range(2)]


def loop(one: np.ndarray, two: np.ndarray, temperature: float) -> float:
    rows = [*one, *two]
    count, value = len(one), 0.0

    def likeness(i: int, j: int) -> float:
        return float(rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j]) / temperature)

    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = sum(np.exp(likeness(i, j)) for j in range(2 * count) if j != i)
        value -= np.log(np.exp(likeness(i, partner)) / others)
    return value / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_equals_the_loop_and_monai(temperature: float) -> None:
    from monai.losses import ContrastiveLoss

    one, two = views()
    value = GlobalContrastiveLoss(temperature)(one, two)
    assert value.item() == pytest.approx(loop(one.numpy(), two.numpy(), temperature), rel=1e-10)
    torch.testing.assert_close(value, ContrastiveLoss(temperature)(one, two), rtol=1e-6, atol=0)


def test_gradient() -> None:
    assert torch.autograd.gradcheck(GlobalContrastiveLoss(), [x.requires_grad_() for x in views()])


def test_swapping_views_and_order_of_images_change_nothing() -> None:
    one, two = views()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    value = GlobalContrastiveLoss()(one, two)
    torch.testing.assert_close(GlobalContrastiveLoss()(two, one), value)
    torch.testing.assert_close(GlobalContrastiveLoss()(one[order], two[order]), value)
    torch.testing.assert_close(GlobalContrastiveLoss()(3 * one, two), value)


def test_partners_alike_are_better_than_partners_apart() -> None:
    one, two = views()
    assert GlobalContrastiveLoss()(one, one) < GlobalContrastiveLoss()(one, two)


def test_one_image_alone_gives_0() -> None:
    one, two = (x.requires_grad_() for x in views(1))
    value = GlobalContrastiveLoss()(one, two)
    value.backward()
    assert value.item() == 0 and not one.grad.any()


def test_low_temperature_and_zero_vectors_stay_finite() -> None:
    one, two = (x.float() for x in views())
    one[0] = 0
    one.requires_grad_()
    value = GlobalContrastiveLoss(0.001)(one, two)
    value.backward()
    assert value.isfinite() and one.grad[1:].isfinite().all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="temperature"):
        GlobalContrastiveLoss(0)
    with pytest.raises(ValueError, match="two tensors of one shape"):
        GlobalContrastiveLoss()(torch.zeros(3, 2), torch.zeros(2, 2))
