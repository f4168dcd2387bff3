"""Dense losses against float64 loops, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmgdm_monai.losses.dense_matching import NEGATIVES, DenseContrastiveLoss, DenseDINOLoss
from hmgdm_monai.losses.dino import DINOLoss

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def batch(seed: int = 0, count: int = 4, regions: int = 3, channels: int = 5, share: float = 0.7) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    one, two = (torch.randn(count, regions, channels, generator=draw, dtype=torch.float64) for _ in range(2))
    first, second = (torch.rand(count, regions, generator=draw) < share for _ in range(2))
    return one, two, first, second


def loop(one, two, valid_1, valid_2, temperature: float, negatives: str) -> float:
    """By the text: every anchor, its partner, its negatives one by one."""
    count, regions, _ = one.shape
    total, anchors = 0.0, 0

    def power(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(a @ b / np.linalg.norm(a) / np.linalg.norm(b) / temperature))

    for here, there, valid_there in ((one, two, valid_2), (two, one, valid_1)):
        for i in range(count):
            for k in range(regions):
                if not (valid_1[i, k] and valid_2[i, k]):
                    continue
                against = []
                for j in range(count):
                    for m in range(regions):
                        wanted = {
                            "all": (i, k) != (j, m),
                            "other_images": i != j,
                            "same_class": i != j and k == m,
                        }[negatives]
                        if wanted and valid_there[j, m]:
                            against.append(power(here[i, k], there[j, m]))
                if against:
                    partner = power(here[i, k], there[i, k])
                    total -= np.log(partner / (partner + sum(against)))
                    anchors += 1
    return total / max(anchors, 1)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 5),
    regions=st.integers(1, 4),
    share=st.sampled_from([0.2, 0.6, 1.0]),
    negatives=st.sampled_from(NEGATIVES),
)
def test_contrastive_equals_the_loop(seed: int, count: int, regions: int, share: float, negatives: str) -> None:
    parts = batch(seed, count, regions, share=share)
    value = DenseContrastiveLoss(0.3, negatives)(*parts)
    expected = loop(*(x.numpy() for x in parts), 0.3, negatives)
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_contrastive_gradient(negatives: str) -> None:
    one, two, first, second = batch()
    loss = DenseContrastiveLoss(0.3, negatives)
    inputs = [one.requires_grad_(), two.requires_grad_()]
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, first, second), inputs)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_contrastive_is_symmetric_and_blind_to_order_and_absent_regions(negatives: str) -> None:
    one, two, first, second = batch()
    loss = DenseContrastiveLoss(0.3, negatives)
    value = loss(one, two, first, second)
    assert value > 0
    torch.testing.assert_close(loss(two, one, second, first), value)
    images, classes = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])
    torch.testing.assert_close(loss(*(x[images][:, classes] for x in (one, two, first, second))), value)
    changed = torch.where(first[..., None], one, torch.full_like(one, 50.0))
    torch.testing.assert_close(loss(changed, two, first, second), value)
    padding = torch.zeros(4, 2, dtype=torch.bool)
    padded = [torch.cat((x, torch.ones(4, 2, 5)), 1) for x in (one, two)]
    torch.testing.assert_close(loss(*padded, torch.cat((first, padding), 1), torch.cat((second, padding), 1)), value)


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("which", ["none", "never_in_both", "one_pair"])
def test_nothing_to_match_or_nothing_to_match_against_gives_0(negatives: str, which: str) -> None:
    one, two, first, second = batch()
    first[:], second[:] = which == "never_in_both", False
    if which == "one_pair":
        first[1, 1] = second[1, 1] = True
    features = torch.stack((one, two)).float()
    features[:, 0, 0] = 0  # as masked pooling gives for a region that is not there
    features.requires_grad_()
    value = DenseContrastiveLoss(0.1, negatives)(*features, first, second)
    value.backward()
    assert value.item() == 0 and not features.grad.any()


def test_anchors_without_negatives_do_not_count() -> None:
    one, two, first, second = batch(share=1.0)
    first[:, 2], second[:, 2] = False, False
    value = DenseContrastiveLoss(0.3, "same_class")(one, two, first, second)
    first[0, 2] = second[0, 2] = True  # the only region of its class
    torch.testing.assert_close(DenseContrastiveLoss(0.3, "same_class")(one, two, first, second), value)


def test_negatives_are_what_their_names_say() -> None:
    one, two, first, second = batch(share=1.0)
    base = {name: DenseContrastiveLoss(0.3, name)(one, two, first, second).item() for name in NEGATIVES}
    assert base["all"] > base["other_images"] > base["same_class"]  # each is a subset of the one before


def test_dense_dino_is_dino_of_the_regions_valid_in_both_views() -> None:
    one, two, first, second = batch()
    teacher_1, teacher_2, _, _ = batch(1)
    dense, flat = DenseDINOLoss(5).double(), DINOLoss(5).double()
    both = first & second
    for _ in range(2):
        value = dense(one, two, teacher_1, teacher_2, first, second)
        torch.testing.assert_close(value, flat(*(x[both] for x in (one, two, teacher_1, teacher_2))))
        torch.testing.assert_close(dense.center, flat.center)
    swapped = DenseDINOLoss(5).double()
    swapped(two, one, teacher_2, teacher_1, second, first)
    dense.eval()
    swapped.load_state_dict(dense.state_dict())
    torch.testing.assert_close(
        swapped.eval()(two, one, teacher_2, teacher_1, second, first),
        dense(one, two, teacher_1, teacher_2, first, second),
    )


def test_dense_dino_equals_the_loop() -> None:
    parts = batch()
    teacher_1, teacher_2, _, _ = batch(1)
    s1, s2, v1, v2 = (x.numpy() for x in parts)
    loss = DenseDINOLoss(5, 0.2, 0.1).double()
    loss.center.copy_(torch.linspace(-1, 1, 5))
    center = np.linspace(-1, 1, 5)
    total, count = 0.0, 0
    for i in range(4):
        for k in range(3):
            if v1[i, k] and v2[i, k]:
                for teacher, student in ((teacher_1, s2), (teacher_2, s1)):
                    p = np.exp((teacher[i, k].numpy() - center) / 0.1)
                    q = np.exp(student[i, k] / 0.2)
                    total -= sum(a * np.log(b) for a, b in zip(p / p.sum(), q / q.sum(), strict=True)) / 2
                count += 1
    value = loss(parts[0], parts[1], teacher_1, teacher_2, parts[2], parts[3])
    assert value.item() == pytest.approx(total / count, rel=1e-10)


def test_dense_dino_without_a_valid_region() -> None:
    one, two, first, second = batch()
    one.requires_grad_()
    loss = DenseDINOLoss(5)
    value = loss(one, two, two, two, first & False, second)
    value.backward()
    assert value.item() == 0 and not one.grad.any() and not loss.center.any()


def test_bad_arguments() -> None:
    one, two, first, second = batch()
    with pytest.raises(ValueError, match="negatives must be one of"):
        DenseContrastiveLoss(negatives="none")
    with pytest.raises(ValueError, match="temperature"):
        DenseContrastiveLoss(0)
    with pytest.raises(ValueError, match="one shape"):
        DenseContrastiveLoss()(one, two[:2], first, second)
    with pytest.raises(ValueError, match="validity of"):
        DenseContrastiveLoss()(one, two, first[:, :2], second)
