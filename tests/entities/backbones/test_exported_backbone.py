"""Exported files of three kinds give what their network gives, and anything else is refused in one line."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hmgdm_monai.entities.backbones.build import build_backbone
from hmgdm_monai.entities.backbones.exported_backbone import ExportedBackbone
from hmgdm_monai.errors import InputError

onnx = pytest.importorskip("onnx")

SUFFIXES = (".pt2", ".pt", ".onnx")
SIDE = 32
MEAN, STD = [0.7, 0.5, 0.6], [0.2, 0.3, 0.25]


class Maps(nn.Module):
    """(B, 4, S / 8, S / 8)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 4, 8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        return self.patches(images)


class Tokens(Maps):
    """(B, 2 + patches, 4): two tokens that are none of the patches, then those of the patches."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = super().forward(images).flatten(2).transpose(1, 2)
        return torch.cat((tokens.mean(1, keepdim=True), tokens.amax(1, keepdim=True), tokens), dim=1)


class Both(Tokens):
    """Tokens and a coarser map."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(images), nn.functional.avg_pool2d(images, 16)


class Pooled(Maps):
    """(B, 4)."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).mean((2, 3))


class Integers(Maps):
    """A map of int64."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).argmax(1, keepdim=True)


class Merged(Maps):
    """All tiles in one."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).mean(0, keepdim=True).repeat(3, 1, 1, 1)


class Named(Maps):
    """A dictionary."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"map": super().forward(images)}


def export(network: nn.Module, path: Path, batch: int | None = None, side: int = SIDE) -> str:
    """Export for any batch size, or for one alone."""
    network.eval()
    images = torch.zeros(batch or 2, 3, side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".pt2":
            shapes = None if batch else ({0: torch.export.Dim("tiles")},)
            torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), path)
        elif path.suffix == ".onnx":
            axes = None if batch else {"images": {0: "tiles"}}
            torch.onnx.export(network, (images,), str(path), input_names=["images"], dynamic_axes=axes, dynamo=False)
        else:
            torch.jit.trace(network, images, strict=False).save(str(path))
    return str(path)


def draw(batch: int = 3, side: int = SIDE) -> Tensor:
    return torch.randint(0, 256, (batch, 3, side, side), generator=torch.Generator().manual_seed(1)).byte()


def refusal(make: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_maps_and_tokens_are_those_of_the_network(tmp_path: Path, suffix: str) -> None:
    network = Both()
    name = export(network, tmp_path / f"both{suffix}")
    backbone = ExportedBackbone(name, resize_px=SIDE, prefix_tokens=2, mean=MEAN, std=STD)
    tiles = draw()
    tokens, coarse = backbone(tiles)
    scaled = (tiles / 255.0 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.allclose(tokens, network.patches(scaled), atol=1e-5)  # row by row, without the first two
    assert torch.allclose(coarse, nn.functional.avg_pool2d(scaled, 16), atol=1e-5)
    assert backbone.channels == 4 + 3
    assert not tokens.requires_grad and not backbone.state_dict()
    assert [one.shape[1] for one in backbone(tiles[:0])] == [4, 3]
    plain = ExportedBackbone(name, resize_px=SIDE, prefix_tokens=2)
    assert torch.allclose(plain(tiles)[0], network.patches(tiles / 255.0), atol=1e-5)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_file_that_takes_one_tile_is_run_tile_by_tile(tmp_path: Path, suffix: str) -> None:
    network = Maps()
    backbone = ExportedBackbone(export(network, tmp_path / f"one{suffix}", batch=1), resize_px=SIDE)
    tiles = draw()
    assert torch.allclose(backbone(tiles)[0], network(tiles / 255.0), atol=1e-5)
    assert backbone(tiles[:0])[0].shape[0] == 0


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_file_that_takes_another_batch_size_is_refused(tmp_path: Path, suffix: str) -> None:
    name = export(Maps(), tmp_path / f"three{suffix}", batch=3)
    assert "export it for any batch size or for 1" in refusal(lambda: ExportedBackbone(name, resize_px=SIDE))


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_the_side_that_it_was_exported_for_is_asked_for(tmp_path: Path, suffix: str) -> None:
    name = export(Maps(), tmp_path / f"small{suffix}")
    assert "set resize_px" in refusal(lambda: ExportedBackbone(name))  # 224 px are tried
    assert ExportedBackbone(name, resize_px=SIDE)(draw(1, 64))[0].shape == (1, 4, 4, 4)
    usual = export(Maps(), tmp_path / f"usual{suffix}", side=224)
    backbone = ExportedBackbone(usual)
    assert "set resize_px" in refusal(lambda: backbone(draw(1, 64)))


def test_tokens_that_fill_no_grid_are_refused_with_a_hint(tmp_path: Path) -> None:
    name = export(Tokens(), tmp_path / "tokens.pt")
    said = refusal(lambda: ExportedBackbone(name, resize_px=SIDE))
    assert "float32 (1, 18, 4)" in said and "prefix_tokens 2 would fit" in said
    said = refusal(lambda: ExportedBackbone(name, resize_px=SIDE, prefix_tokens=18))
    assert "0 tokens after 18" in said
    said = refusal(lambda: ExportedBackbone(name, resize_px=SIDE, prefix_tokens=-1))
    assert "prefix_tokens must be at least 0" in said


def test_tokens_have_the_shape_of_the_tile(tmp_path: Path) -> None:
    network = Tokens()
    backbone = ExportedBackbone(export(network, tmp_path / "tokens.pt"), prefix_tokens=2)
    tiles = draw()[:, :, :16]
    assert torch.allclose(backbone(tiles)[0], network.patches(tiles / 255.0), atol=1e-5)
    assert backbone(tiles)[0].shape == (3, 4, 2, 4)
    # 3 x 5 patches do not have the shape of a tile whose last columns they leave out.
    assert "grid of tokens" in refusal(lambda: backbone(torch.zeros(1, 3, 24, 47)))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Pooled, "gives float32 (1, 4)"),
        (Integers, "gives int64 (1, 1, 4, 4)"),
        (Merged, "gives float32 (3, 4, 4, 4) for 1 tile(s)"),
        (Named, "gives a dict"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, network: type[nn.Module], words: str) -> None:
    name = export(network(), tmp_path / "other.pt")
    said = refusal(lambda: ExportedBackbone(name, resize_px=SIDE))
    assert words in said and "wanted maps (B, C, h, w) or tokens (B, N, C) of floats" in said


def test_channels_that_change_are_refused(tmp_path: Path) -> None:
    class Changing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if bool(images.amax() > 0.5) else images[:, :2]

    torch.jit.script(Changing()).save(str(tmp_path / "changing.pt"))
    backbone = ExportedBackbone(str(tmp_path / "changing.pt"))
    assert "maps of (3,) channels, on a blank tile of (2,)" in refusal(lambda: backbone(draw()))


def test_digest_is_that_of_the_file(tmp_path: Path) -> None:
    name = export(Maps(), tmp_path / "maps.pt")
    expected = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    backbone = ExportedBackbone(name, digest=expected)
    assert backbone.digest() == expected
    said = refusal(lambda: ExportedBackbone(name, digest="0123456789abcdef" * 4))
    assert expected[:12] in said and "0123456789ab" in said


def test_the_digest_of_an_onnx_tells_of_the_weights_beside_it(tmp_path: Path) -> None:
    whole = onnx.load(export(Maps(), tmp_path / "whole.onnx"))
    path = tmp_path / "parts.onnx"
    onnx.save_model(whole, path, save_as_external_data=True, location="parts.data", size_threshold=0)
    backbone = ExportedBackbone(str(path), resize_px=SIDE)
    weights = bytearray((tmp_path / "parts.data").read_bytes())
    weights[0] ^= 1
    (tmp_path / "parts.data").write_bytes(weights)
    assert ExportedBackbone(str(path), resize_px=SIDE).digest() != backbone.digest()
    (tmp_path / "parts.data").unlink()
    assert "parts.data" in refusal(lambda: ExportedBackbone(str(path), resize_px=SIDE))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_settings_build_it_again_and_each_process_opens_its_own(tmp_path: Path, suffix: str) -> None:
    name = export(Tokens(), tmp_path / f"tokens{suffix}")
    backbone = build_backbone({"name": name, "resize_px": SIDE, "prefix_tokens": 2, "mean": MEAN, "std": STD})
    settings = json.loads(json.dumps(dict(backbone.settings)))
    again = build_backbone(settings, published=False)
    assert again.settings == backbone.settings
    expected = backbone(draw())[0]
    assert torch.equal(again(draw())[0], expected)
    copy = pickle.loads(pickle.dumps(backbone))
    assert copy._opened is None
    assert torch.equal(copy(draw())[0], expected)
    opened = copy._opened
    copy._opened = opened._replace(process=os.getpid() + 1)  # as after a fork
    assert torch.equal(copy(draw())[0], expected)
    assert copy._opened.run is not opened.run


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    torch.save(Maps().state_dict(), tmp_path / "weights.pt")
    torch.save(Maps().state_dict(), tmp_path / "weights.pt2")
    assert "holds no TorchScript (perhaps only weights)" in refusal(
        lambda: ExportedBackbone(str(tmp_path / "weights.pt"))
    )
    assert "holds no program of torch.export" in refusal(lambda: ExportedBackbone(str(tmp_path / "weights.pt2")))
    for suffix in (*SUFFIXES, ".ts"):
        path = tmp_path / f"text{suffix}"
        path.write_text("no network")
        refusal(lambda path=path: ExportedBackbone(str(path)))
        path.write_bytes(b"")
        refusal(lambda path=path: ExportedBackbone(str(path)))
    assert "there is no file" in refusal(lambda: ExportedBackbone(str(tmp_path / "none.ts")))
    assert "ends in .onnx" in refusal(lambda: ExportedBackbone(str(tmp_path / "none.safetensors")))
    (tmp_path / "folder.pt").mkdir()
    assert "cannot be read" in refusal(lambda: ExportedBackbone(str(tmp_path / "folder.pt")))


def test_an_onnx_of_two_inputs_is_refused(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor, more: Tensor) -> Tensor:
            return images + more

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(1, 3, 8, 8)
        torch.onnx.export(Two(), (images, images), str(tmp_path / "two.onnx"), input_names=["a", "b"], dynamo=False)
    said = refusal(lambda: ExportedBackbone(str(tmp_path / "two.onnx")))
    assert "takes a tensor(float), b tensor(float); wanted one input" in said
