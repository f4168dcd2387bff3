"""The vision transformer of tiles."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hmgdm_monai.networks.encoders.tile_vit import TileViT

TINY = {"image_px": 32, "patch_px": 8, "hidden_dim": 16, "num_layers": 2, "heads": 2}


@pytest.fixture
def vit() -> TileViT:
    return TileViT(**TINY).eval()


def test_tokens_of_any_size(vit):
    for side, tokens in ((32, 16), (64, 64), (24, 9)):
        cls, patches = vit(torch.rand(2, 3, side, side))
        assert cls.shape == (2, 16) and patches.shape == (2, tokens, 16)
    with pytest.raises(ValueError, match="patches of 8 px"):
        vit(torch.rand(1, 3, 30, 30))
    with pytest.raises(ValueError, match="must divide"):
        TileViT(image_px=30, patch_px=8)


def test_it_is_monai_s_network(vit):
    images = torch.rand(2, 3, 32, 32)
    expected, _ = vit.vit((images - 0.7) / 0.2)
    cls, patches = vit(images)
    assert torch.allclose(torch.cat((cls[:, None], patches), 1), expected, atol=1e-5)


def test_tokens_stand_row_by_row(vit):
    """The position table tells: without blocks, moving a patch moves its token."""
    images = torch.zeros(1, 3, 32, 32)
    images[..., 8:16, 16:24] = 1.0  # row 1, column 2
    plain = vit._embedded(torch.zeros(1, 3, 32, 32))
    changed = (vit._embedded(images) - plain).abs().sum(-1)[0, 1:]
    assert changed.nonzero().flatten().tolist() == [1 * 4 + 2]


def test_positions_stretch_with_the_image(vit):
    known = vit._positions(4, 4)
    assert torch.equal(known, vit.vit.patch_embedding.position_embeddings)
    back = vit._positions(8, 8).reshape(1, 8, 8, -1).permute(0, 3, 1, 2)
    back = F.avg_pool2d(back, 2).flatten(2).transpose(1, 2)
    assert (back - known).abs().mean() < 0.1 * known.abs().mean()


def test_attention_sums_to_one_and_changes_nothing(vit):
    images = torch.rand(2, 3, 32, 32)
    before = vit(images)[1]
    attention = vit.attention(images)
    assert attention.shape == (2, 2, 16) and (attention >= 0).all()
    assert torch.allclose(attention.sum(-1), torch.ones(2, 2), atol=1e-6)
    assert torch.equal(vit(images)[1], before)


def test_attention_is_the_softmax_of_the_class_token_s_scores(vit):
    images, last = torch.rand(1, 3, 32, 32), vit.vit.blocks[-1]
    tokens = last.norm1(vit._through(vit._embedded(images), 1))
    query, key, _ = last.attn.input_rearrange(last.attn.qkv(tokens))
    scores = (query[:, :, :1] @ key.transpose(-1, -2))[:, :, 0] * last.attn.scale
    expected = scores[..., 1:].softmax(-1)  # over the patches alone
    assert torch.allclose(vit.attention(images), expected, atol=1e-5)
