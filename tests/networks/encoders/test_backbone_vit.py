"""A transformer over the maps of a frozen backbone."""

from __future__ import annotations

import copy

import pytest
import torch

from hmgdm_monai.networks.encoders.backbone_vit import BackboneViT
from hmgdm_monai.networks.encoders.vit_tile_encoder import ViTTileEncoder
from hmgdm_monai.networks.methods.dirl import DiRL
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

TINY = {"image_px": 32, "patch_px": 8, "hidden_dim": 16, "num_layers": 1, "heads": 2}
BACKBONE = {"name": "efficientnet_lite0", "blocks": [1, 2], "resize_px": None}


@pytest.fixture
def vit() -> BackboneViT:
    torch.manual_seed(0)
    return BackboneViT(BACKBONE, **TINY, published=False).eval()


def test_a_token_reads_the_mean_of_the_maps_over_its_patch(vit: BackboneViT) -> None:
    images = torch.rand(2, 3, 32, 32)
    maps = vit.backbone(255 * images)
    assert [tuple(one.shape[2:]) for one in maps] == [(8, 8), (8, 8)]
    means = torch.cat(maps, 1).reshape(2, -1, 4, 2, 4, 2).mean((3, 5))  # stride 4, so a patch of 8 px has 2 x 2 cells
    norm, linear = vit.vit.patch_embedding.patch_embeddings
    expected = linear(norm(means.flatten(2).transpose(1, 2)))
    found = vit._embedded(images)[:, 1:] - vit._positions(4, 4)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_tokens_of_any_size_and_of_maps_coarser_than_a_patch() -> None:
    vit = BackboneViT({**BACKBONE, "blocks": [4]}, **{**TINY, "patch_px": 4}, published=False).eval()
    for side, tokens in ((32, 64), (64, 256)):  # a map of stride 8 for patches of 4 px
        assert vit(torch.rand(1, 3, side, side))[1].shape == (1, tokens, 16)


def test_training_leaves_the_backbone_alone_and_teacher_and_student_share_it(vit: BackboneViT) -> None:
    network = DiRL(vit, head_hidden=8, projection_dim=4, num_prototypes=6, dense=False).train()
    assert network.teacher is not None and network.teacher["vit"].backbone is vit.backbone
    before = copy.deepcopy(vit.state_dict())
    optimizer = torch.optim.AdamW(network.student.parameters(), lr=0.1, weight_decay=0.1)
    class_token, tokens = network.student["vit"](torch.rand(2, 3, 32, 32))
    (class_token.square().sum() + tokens.square().sum()).backward()
    optimizer.step()
    network.update_teacher()
    changed = {name for name, value in vit.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith("backbone.")]
    assert "vit.patch_embedding.patch_embeddings.1.weight" in changed
    trainable = {id(one) for one in ViTTileEncoder(vit, {"readout": "cls"}, {}).trainable_parameters()}
    assert not trainable & {id(one) for one in vit.backbone.parameters()}


def test_it_is_built_again_from_its_settings(vit: BackboneViT) -> None:
    encoder = ViTTileEncoder(vit, {"vit": vit.settings, "readout": "both"}, {}).eval()
    again = build_tile_encoder(encoder.kind, encoder.settings, {}).eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(again.vit(images)[1], vit(images)[1])
    assert again.digest() == encoder.digest()
