"""Vision transformers of a folder give their patch tokens as maps, and are told apart by their digest."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmgdm_monai.entities.backbones.build import build_backbone
from hmgdm_monai.entities.backbones.transformers_backbone import TransformersBackbone
from hmgdm_monai.errors import InputError

transformers = pytest.importorskip("transformers", reason="needs the extra: transformers")

MEAN, STD = [0.7, 0.5, 0.6], [0.2, 0.3, 0.25]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8, "image_size": 32}
KINDS = {
    "dinov2": ("Dinov2", {}),
    "registers": ("Dinov2WithRegisters", {"num_register_tokens": 4}),
    "vit": ("ViT", {"intermediate_size": 32}),
}
PREFIX = {"dinov2": 1, "registers": 5, "vit": 1}


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """A tiny model with random weights and the preprocessor file, as a hub folder has them."""
    family, more = KINDS[kind]
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**SMALL, **more)
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """A model to spoil."""
    return save("vit", tmp_path / "vit")


def draw(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def tokens_of(folder: Path, tiles: Tensor) -> tuple[Tensor, ...]:
    """Hidden states (B, N, C) by transformers itself, the last one after its norm at the end."""
    network = transformers.AutoModel.from_pretrained(folder)
    scaled = (tiles / 255.0 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    size = {} if "dinov2" in network.config.model_type else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        output = network(pixel_values=scaled, output_hidden_states=True, **size)
    return *output.hidden_states, output.last_hidden_state


@pytest.mark.parametrize("sides", [(32, 32), (48, 48), (24, 40)], ids=["as configured", "larger", "not square"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_holds_the_patch_tokens(folders: dict[str, Path], kind: str, sides: tuple[int, int]) -> None:
    backbone = TransformersBackbone(str(folders[kind]))
    tiles = draw(2, 3, *sides)
    (found,) = backbone(tiles)
    rows, columns = sides[0] // 8, sides[1] // 8
    assert found.shape == (2, backbone.channels, rows, columns) and backbone.channels == 16
    assert backbone(tiles[:0])[0].shape == (0, 16, rows, columns)
    tokens = tokens_of(folders[kind], tiles)[-1]
    assert tokens.shape[1] == PREFIX[kind] + rows * columns
    for row in range(rows):
        for column in range(columns):
            expected = tokens[:, PREFIX[kind] + row * columns + column]
            assert torch.allclose(found[:, :, row, column], expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_hidden_states(folders: dict[str, Path], kind: str) -> None:
    backbone = TransformersBackbone(str(folders[kind]), layers=[2, 0])
    tiles = draw(1, 3, 32, 32)
    maps = backbone(tiles)
    assert backbone.channels == 32 and len(maps) == len(backbone(tiles[:0])) == 2
    states = tokens_of(folders[kind], tiles)
    for one, layer in zip(maps, (0, 2), strict=True):
        assert torch.allclose(one.flatten(2).transpose(1, 2), states[layer][:, PREFIX[kind] :], atol=1e-5)
    with pytest.raises(InputError, match=r"layers must be some of 0 to 2, not \[3\]"):
        TransformersBackbone(str(folders[kind]), layers=[3])


def test_no_state_dict_carries_it_but_it_moves_along(folders: dict[str, Path]) -> None:
    backbone = TransformersBackbone(str(folders["dinov2"]))
    around = torch.nn.Sequential(backbone)
    assert not around.state_dict() and not list(around.parameters())
    around.load_state_dict({})
    assert not backbone.train()._network.training
    tiles = draw(1, 3, 32, 32)
    expected, digest = backbone(tiles)[0], backbone.digest()
    around.to(torch.float64)
    assert backbone._network.dtype == torch.float64
    found = backbone(tiles)[0]
    assert found.dtype == torch.float32 and not found.requires_grad
    assert torch.allclose(found, expected, atol=1e-5)
    assert backbone.digest() == digest
    around.to("meta")
    assert all(one.is_meta for one in backbone._network.parameters())


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_copies_are_the_same(folders: dict[str, Path], clone: Callable) -> None:
    backbone = TransformersBackbone(str(folders["vit"]))
    tiles = draw(1, 3, 32, 32)
    assert torch.equal(clone(backbone)(tiles)[0], backbone(tiles)[0])


def test_settings_build_it_again_from_the_same_weights_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    backbone = build_backbone({"name": str(folders["vit"]), "layers": [1], "resize_px": 16})
    settings = json.loads(json.dumps(dict(backbone.settings)))
    assert settings["mean"] == MEAN and settings["std"] == STD
    again = build_backbone(settings, published=False)
    assert again.settings == backbone.settings
    assert torch.equal(again(draw(1, 3, 32, 32))[0], backbone(draw(1, 3, 32, 32))[0])
    other = save("vit", tmp_path, seed=1)
    with pytest.raises(InputError) as error:
        build_backbone({**settings, "name": str(other)})
    found = TransformersBackbone(str(other)).digest()
    assert found[:12] in str(error.value) and settings["digest"][:12] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_without_a_pooler_has_one_digest(vit: Path) -> None:
    whole = TransformersBackbone(str(vit)).digest()
    remove(vit, "pooler")
    first, second = TransformersBackbone(str(vit)), TransformersBackbone(str(vit))
    assert first.digest() == second.digest() != whole
    assert torch.equal(first(draw(1, 3, 32, 32))[0], second(draw(1, 3, 32, 32))[0])


def test_a_checkpoint_without_a_layer_is_refused(vit: Path) -> None:
    remove(vit, "layernorm.weight")
    with pytest.raises(InputError, match="its weights lack 1 of the network, e.g. layernorm.weight"):
        TransformersBackbone(str(vit))


def remove(folder: Path, part: str) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    weights = load_file(file)
    kept = {name: value for name, value in weights.items() if not name.startswith(part)}
    assert len(kept) < len(weights)
    save_file(kept, file, metadata={"format": "pt"})


def test_mean_and_deviation_come_from_the_settings_or_the_folder(vit: Path) -> None:
    tiles = draw(1, 3, 32, 32)
    from_folder = TransformersBackbone(str(vit))(tiles)[0]
    given = TransformersBackbone(str(vit), mean=[0.5] * 3, std=[0.5] * 3)(tiles)[0]
    assert not torch.allclose(from_folder, given, atol=1e-3)
    (vit / "preprocessor_config.json").unlink()
    assert torch.equal(TransformersBackbone(str(vit), mean=MEAN, std=STD)(tiles)[0], from_folder)
    with pytest.raises(InputError, match="no preprocessor_config.json .* give mean and std") as error:
        TransformersBackbone(str(vit))
    assert "\n" not in str(error.value)
    for mean, std in ((MEAN, None), (MEAN[:2], STD), (MEAN, [0.2, 0.0, 0.2]), (["a"] * 3, STD)):
        with pytest.raises(InputError, match="mean and std must be three numbers each"):
            TransformersBackbone(str(vit), mean=mean, std=std)


@pytest.mark.parametrize(("sides", "fits"), [((4, 4), 8), ((36, 32), 32), ((32, 30), 32)])
def test_tiles_that_do_not_divide_into_patches_are_refused(
    folders: dict[str, Path], sides: tuple[int, int], fits: int
) -> None:
    tiles = draw(1, 3, *sides)
    with pytest.raises(InputError, match=f"patches of 8 x 8 px; set resize_px .* {fits}$") as error:
        TransformersBackbone(str(folders["dinov2"]))(tiles)
    assert "\n" not in str(error.value)
    resized = TransformersBackbone(str(folders["dinov2"]), resize_px=16)(tiles)[0]
    assert resized.shape[2:] == (2, 2)


def test_tokens_without_a_class_token_are_refused(tmp_path: Path) -> None:
    config = transformers.SiglipVisionConfig(**SMALL, intermediate_size=32)
    transformers.SiglipVisionModel(config).save_pretrained(tmp_path)
    backbone = TransformersBackbone(str(tmp_path), mean=MEAN, std=STD)
    with pytest.raises(InputError, match=r"gives \(1, 16, 16\) .* wanted \(1, 17, 16\)") as error:
        backbone(draw(1, 3, 32, 32))
    assert "\n" not in str(error.value)


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a resnet; give a DINOv2 or ViT"):
        TransformersBackbone(str(tmp_path), mean=MEAN, std=STD)


def test_code_is_never_run(vit: Path, tmp_path: Path) -> None:
    config = json.loads((vit / "config.json").read_text())
    config |= {"model_type": "their_own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (vit / "config.json").write_text(json.dumps(config))
    (vit / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(InputError, match="transformers cannot read it") as error:
        TransformersBackbone(str(vit))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


class Harmful:
    """A pickle that makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def test_pickles_are_never_loaded(vit: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(vit / "model.safetensors")
    expected = TransformersBackbone(str(vit)).digest()
    (vit / "model.safetensors").unlink()
    torch.save(weights, vit / "pytorch_model.bin")
    assert TransformersBackbone(str(vit)).digest() == expected
    torch.save({**weights, "more": Harmful(tmp_path / "ran")}, vit / "pytorch_model.bin")
    with pytest.raises(InputError, match="transformers cannot read it"):
        TransformersBackbone(str(vit))
    assert not (tmp_path / "ran").exists()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (str(tmp_path / "none"), "./none", "a/b/c"):
        with pytest.raises(InputError, match="there is no such folder"):
            TransformersBackbone(name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="pip install transformers") as error:
        TransformersBackbone(str(tmp_path))
    assert "\n" not in str(error.value)
