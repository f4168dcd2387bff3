"""DINO's loss and center against a float64 loop, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.losses.dino import DINOLoss

N, K = 5, 7


def logits(seed: int = 0, scale: float = 1.0, shape: tuple[int, ...] = (N, K)) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(4)]


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def loop(s1, s2, t1, t2, center, weights, student_temperature, teacher_temperature) -> float:
    value = 0.0
    for n in range(len(s1)):
        for teacher, student in ((t1[n], s2[n]), (t2[n], s1[n])):
            p = softmax((teacher - center) / teacher_temperature)
            q = softmax(student / student_temperature)
            value -= 0.5 * weights[n] * sum(p[k] * np.log(q[k]) for k in range(len(p)))
    return value / weights.sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_three_steps_equal_the_loop(weighted: bool) -> None:
    loss = DINOLoss(K, 0.2, 0.07, 0.8).double()
    center = np.zeros(K)
    for seed in range(3):
        tensors = logits(seed)
        weights = torch.tensor([1.0, 0.0, 2.5, 0.5, 1.0]).double() if weighted else None
        w = np.ones(N) if weights is None else weights.numpy()
        s1, s2, t1, t2 = (x.numpy() for x in tensors)
        expected = loop(s1, s2, t1, t2, center, w, 0.2, 0.07)
        assert loss(*tensors, weights).item() == pytest.approx(expected, rel=1e-10)
        mean = sum(w[n] * (t1[n] + t2[n]) / 2 for n in range(N)) / w.sum()
        center = 0.8 * center + 0.2 * mean
        np.testing.assert_allclose(loss.center.numpy(), center, rtol=1e-10)


def test_gradient_of_the_student_and_none_of_the_teacher() -> None:
    tensors = [x.requires_grad_() for x in logits()]
    loss = DINOLoss(K).double().eval()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, *(x.detach() for x in tensors[2:])), tensors[:2])
    loss(*tensors).backward()
    assert tensors[0].grad.any() and tensors[1].grad.any() and tensors[2].grad is None and tensors[3].grad is None


def test_swapping_the_views_changes_nothing() -> None:
    s1, s2, t1, t2 = logits()
    one, other = DINOLoss(K).double(), DINOLoss(K).double()
    torch.testing.assert_close(one(s1, s2, t1, t2), other(s2, s1, t2, t1))
    torch.testing.assert_close(one.center, other.center)


def test_weights_of_0_leave_an_item_out() -> None:
    tensors = logits()
    weights = torch.tensor([True, False, True, True, False])
    one, other = DINOLoss(K).double(), DINOLoss(K).double()
    torch.testing.assert_close(one(*tensors, weights), other(*(x[weights] for x in tensors)))
    torch.testing.assert_close(one.center, other.center)


def test_nothing_that_counts_gives_0_and_leaves_the_center() -> None:
    loss = DINOLoss(K)
    loss.center.fill_(0.3)
    tensors = [x.float() for x in logits()]
    tensors[0].requires_grad_()
    value = loss(*tensors, torch.zeros(N, dtype=torch.bool))
    value.backward()
    assert value.item() == 0 and not tensors[0].grad.any() and (loss.center == 0.3).all()


def test_center_stays_in_evaluation_and_is_part_of_the_state() -> None:
    loss = DINOLoss(K)
    loss.eval()(*logits())
    assert not loss.center.any()
    loss.train()(*logits())
    copy = DINOLoss(K)
    copy.load_state_dict(loss.state_dict())
    assert loss.center.any() and torch.equal(copy.center, loss.center)
    loss.update_center(*logits()[2:])
    assert not torch.equal(copy.center, loss.center)


def test_least_loss_is_where_the_student_says_what_the_teacher_says() -> None:
    teacher = logits()[2]
    loss = DINOLoss(K, 0.1, 0.1).double().eval()
    assert loss(teacher, teacher, teacher, teacher) < loss(teacher.roll(1, 1), teacher.roll(1, 1), teacher, teacher)
    # Uniform teacher and student: the entropy of K alternatives.
    flat = torch.zeros(N, K)
    assert DINOLoss(K)(flat, flat, flat, flat).item() == pytest.approx(np.log(K), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_large_logits_stay_finite(dtype: torch.dtype) -> None:
    tensors = [x.to(dtype).requires_grad_() for x in logits(scale=300)]
    value = DINOLoss(K)(*tensors)
    value.backward()
    assert value.isfinite() and value.dtype == torch.float32 and tensors[0].grad.isfinite().all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="temperatures"):
        DINOLoss(K, teacher_temperature=0)
    with pytest.raises(ValueError, match="center_momentum"):
        DINOLoss(K, center_momentum=1.5)
    with pytest.raises(ValueError, match="four tensors of one shape"):
        DINOLoss(K + 1)(*logits())
    with pytest.raises(ValueError, match="weights of shape"):
        DINOLoss(K)(*logits(), torch.ones(N - 1))
