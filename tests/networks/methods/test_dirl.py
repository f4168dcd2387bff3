"""DiRL's network: student, teacher, and what the losses see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from hmgdm_monai.losses.dense_matching import DenseContrastiveLoss, DenseDINOLoss
from hmgdm_monai.losses.dino import DINOLoss
from hmgdm_monai.losses.dirl import DiRLLoss
from hmgdm_monai.losses.info_nce import GlobalContrastiveLoss
from hmgdm_monai.networks.encoders.tile_vit import TileViT
from hmgdm_monai.networks.methods.dirl import DiRL
from hmgdm_monai.transforms.paired_views import View

VIT = {"image_px": 32, "patch_px": 8, "hidden_dim": 16, "num_layers": 2, "heads": 2}


def build(method: str, dense: bool = True, **settings: float) -> DiRL:
    torch.manual_seed(0)
    sizes = {"head_hidden": 12, "projection_dim": 6, "num_prototypes": 10, **settings}
    return DiRL(TileViT(**VIT), method, dense, **sizes)


def objective(method: str, weight: float = 1.0) -> DiRLLoss:
    if method == "dino":
        return DiRLLoss(DINOLoss(10), DenseDINOLoss(10), weight)
    return DiRLLoss(GlobalContrastiveLoss(), DenseContrastiveLoss(), weight)


@pytest.fixture
def view() -> Callable[[int], View]:
    """Function seed -> a view of four images; one has a single region, one none at all."""

    def draw(seed: int) -> View:
        generator = torch.Generator().manual_seed(seed)
        regions = torch.randint(3, (4, 1, 32, 32), generator=generator, dtype=torch.uint8)
        regions[1], regions[2] = 1, 255
        return View(torch.rand(4, 3, 32, 32, generator=generator), regions)

    return draw


@pytest.mark.parametrize("method", ["dino", "contrastive"])
def test_shapes_and_validity(method, view):
    students, teachers = build(method)(view(0), view(1))
    assert (teachers is None) == (method == "contrastive")
    size = 10 if method == "dino" else 6
    for output in (*students, *(teachers or ())):
        assert output.image.shape == (4, size) and output.regions.shape == (4, 3, size)
        assert output.valid.tolist() == [[True] * 3, [False, True, False], [False] * 3, [True] * 3]


@pytest.mark.parametrize("method", ["dino", "contrastive"])
def test_swapping_the_views_leaves_the_loss(method, view):
    network, loss = build(method).eval(), objective(method).eval()
    one, other = (loss(*network(*views)).total for views in ((view(0), view(1)), (view(1), view(0))))
    assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("method", ["dino", "contrastive"])
def test_lambda_weighs_the_regions_and_nothing_else(method, view):
    views = view(0), view(1)
    terms = objective(method, 0.5).eval()(*build(method)(*views))
    assert torch.allclose(terms.total, terms.image + 0.5 * terms.regions)
    assert terms.regions > 0
    vanilla = objective(method, 0.0).eval()(*build(method, dense=False)(*views))
    assert torch.equal(vanilla.total, vanilla.image) and torch.allclose(vanilla.image, terms.image, atol=1e-6)
    assert torch.isfinite(build(method)(*views)[0][0].regions).all()


def test_without_the_dense_task_all_else_starts_from_the_same_weights():
    plain, dense = build("dino", dense=False).state_dict(), build("dino").state_dict()
    assert set(plain) < set(dense)
    assert all(torch.equal(value, dense[name]) for name, value in plain.items())
    assert all("region_head" in name for name in set(dense) - set(plain))


@pytest.mark.parametrize("method", ["dino", "contrastive"])
def test_every_trained_weight_gets_a_gradient_and_the_teacher_none(method, view):
    network = build(method)
    objective(method)(*network(view(0), view(1))).total.backward()
    for name, parameter in network.student.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    if network.teacher is not None:
        assert all(p.grad is None and not p.requires_grad for p in network.teacher.parameters())


def test_the_teacher_follows_by_its_momentum():
    network = build("dino", teacher_momentum=0.75)
    assert network.encoder is network.teacher["vit"]
    before = [p.clone() for p in network.teacher.parameters()]
    with torch.no_grad():
        for parameter in network.student.parameters():
            parameter.add_(1.0)
    network.update_teacher()
    for was, now, student in zip(before, network.teacher.parameters(), network.student.parameters(), strict=True):
        assert torch.allclose(now, 0.75 * was + 0.25 * student, atol=1e-6)


def test_no_region_anywhere_is_a_finite_zero(view):
    views = [View(v.image, torch.full_like(v.regions, 255)) for v in (view(0), view(1))]
    for method in ("dino", "contrastive"):
        network = build(method)
        terms = objective(method)(*network(*views))
        assert terms.regions == 0
        terms.total.backward()
        gradients = [p.grad for p in network.student.parameters() if p.grad is not None]
        assert all(torch.isfinite(g).all() for g in gradients)


def test_bad_settings():
    for settings, told in (({"method": "byol"}, "method must be"), ({"teacher_momentum": 1.0}, "teacher_momentum")):
        with pytest.raises(ValueError, match=told):
            DiRL(TileViT(**VIT), **settings)
    with pytest.raises(ValueError, match="dense_weight"):
        DiRLLoss(nn.Identity(), nn.Identity(), -1.0)


def test_a_loss_that_needs_a_teacher_says_so(view):
    with pytest.raises(ValueError, match="DINOLoss cannot be used with a network without teacher"):
        objective("dino")(*build("contrastive")(view(0), view(1)))
