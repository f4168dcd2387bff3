"""An encoder as a folder for the hub: the same again, and nothing read that is not what it should be."""

from __future__ import annotations

import json
import os
import pickle
import runpy
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.encoder_file import load_encoder
from hmgdm_monai.saving.encoder_file import save_encoder as save_model
from hmgdm_monai.saving.hub import from_pretrained, save_pretrained

MANIFEST = "/home/someone/patients/cohort.csv"


@pytest.fixture
def build(tiny) -> Callable[[str], TileEncoder]:
    """Function kind -> an encoder whose settings tell of the machine that trained it."""

    def encoder(kind: str) -> TileEncoder:
        settings = {} if kind == "vit" else {"readout": ["mean", "std"]}
        return tiny.encoder(kind, {"data": {"manifest": MANIFEST}, **tiny.run}, **settings)

    return encoder


@pytest.fixture(params=["hmgdm", "vit"])
def encoder(request: pytest.FixtureRequest, build: Callable[[str], TileEncoder]) -> TileEncoder:
    return build(request.param)


@pytest.fixture
def tiles() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 64, 64)).float()


@pytest.fixture
def folder(tmp_path: Path, build: Callable[[str], TileEncoder]) -> Path:
    return save_pretrained(build("vit"), tmp_path / "encoder")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_embeddings_are_the_same_bit_for_bit(encoder, tiles, tmp_path, no_network):
    folder = save_pretrained(encoder, tmp_path / "encoder")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    found = from_pretrained(folder)
    assert type(found) is type(encoder)
    assert not found.training
    with torch.inference_mode():
        assert torch.equal(found(tiles), encoder(tiles))
    assert found.digest() == encoder.digest()
    assert found.settings == encoder.settings
    assert all(torch.equal(value, found.weights()[key]) for key, value in encoder.weights().items())
    again = save_pretrained(found, tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_commands_take_the_folder_in_place_of_the_file(encoder, tiles, tmp_path):
    from hmgdm_monai.tasks.tiles.data import PretrainedFile

    folder = save_pretrained(encoder, tmp_path / "encoder")
    with torch.inference_mode():
        assert torch.equal(load_encoder(folder)(tiles), encoder(tiles))
    first = PretrainedFile(folder).digest
    with torch.no_grad():
        next(iter(encoder.parameters())).add_(1)
    assert PretrainedFile(save_pretrained(encoder, tmp_path / "other")).digest != first


def test_nothing_tells_of_the_machine_that_trained(encoder, tiny, tmp_path):
    folder = save_pretrained(encoder, tmp_path / "encoder")
    assert from_pretrained(folder).run_settings == {"data": {"manifest": "cohort.csv"}, **tiny.run}
    for path in folder.iterdir():
        assert b"someone" not in path.read_bytes()


def test_the_card_says_what_is_known(encoder, tmp_path):
    statement = "Tiles of 12 biopsies of one hospital, CC BY-NC 4.0."
    text = (save_pretrained(encoder, tmp_path / "a", "Glands", statement, "cc-by-nc-4.0") / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["license"] == "cc-by-nc-4.0"
    assert card["library_name"] == "hmgdm_monai"
    assert card["pipeline_tag"] == "image-feature-extraction"
    assert {"histopathology", "monai"} <= set(card["tags"])
    for part in ("# Glands", statement, "| side of a tile, px | `64` |", "not for diagnosis"):
        assert part in body
    silent = (save_pretrained(encoder, tmp_path / "b") / "README.md").read_text()
    assert "Not stated by the person who exported" in silent
    assert "license: unknown" in silent


def test_the_code_of_the_card_runs(encoder, tmp_path, monkeypatch):
    folder = save_pretrained(encoder, tmp_path / "path/of/this/folder")
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["embeddings"].shape[0] == 1


def refused(folder: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_refused(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    refused(folder, "is no safetensors file, or is damaged")
    path.write_bytes(b"")
    refused(folder, "is no safetensors file, or is damaged")
    flipped = bytearray(content)
    flipped[-3] ^= 1
    path.write_bytes(flipped)
    refused(folder, "another SHA-256")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "writes", [lambda bomb, path: torch.save(bomb, path), lambda b, p: p.write_bytes(pickle.dumps(b))]
)
def test_a_pickle_is_not_read_under_any_name(folder, tmp_path, writes):
    writes(Bomb(tmp_path / "ran"), folder / "model.safetensors")
    refused(folder, "is no safetensors file, or is damaged")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, r"has no model.safetensors \(pytorch_model.bin there is a pickle and not read\)")
    change(folder, weights="pytorch_model.bin")
    refused(folder, "safetensors only")
    assert not (tmp_path / "ran").exists()


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"kind": "resnet"}, "no encoder of kind 'resnet'; there are hmgdm, vit"),
        ({"kind": 3}, "has no kind"),
        ({"kind": "hmgdm"}, "do not fit"),
        ({"format": 99, "library_version": "9.1"}, r"format 99 \(written by hmgdm_monai 9.1\)"),
        ({"format": None}, "format None"),
        ({"library_name": "transformers"}, "is no encoder of hmgdm_monai"),
        ({"settings": []}, "has no settings"),
        ({"settings": {}}, "do not fit"),
        ({"settings": {"vit": {"hidden_dim": 32, "patch_px": 16, "image_px": 64}, "readout": "mean"}}, "do not fit"),
        ({"settings": {"vit": {"unheard_of": 1}, "readout": "mean"}}, "do not fit"),
        ({"weights_sha256": None}, "another SHA-256"),
        ({"weights": "../model.safetensors"}, "leads out of the folder"),
        ({"weights": "/etc/model.safetensors"}, "leads out of the folder"),
        ({"weights": "sub/model.safetensors"}, "leads out of the folder"),
        ({"weights": "other.safetensors"}, "has no other.safetensors"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, values, wanted):
    shutil.copy(folder / "model.safetensors", folder.parent)
    change(folder, **values)
    refused(folder, wanted)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 10_000, "\x00"])
def test_a_config_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder, "not JSON, or damaged|is no encoder")


def test_files_that_are_missing_or_lie_elsewhere(folder, tmp_path):
    refused(tmp_path / "none", "no such folder")
    refused(folder / "config.json", "no such folder")
    shutil.move(folder / "model.safetensors", tmp_path / "w.safetensors")
    refused(folder, "has no model.safetensors;")
    (folder / "model.safetensors").symlink_to(tmp_path / "w.safetensors")
    refused(folder, "leads out of the folder")
    (folder / "config.json").unlink()
    refused(folder, "has no config.json;")


def test_weights_of_other_names_are_refused(folder):
    import hashlib

    weights = load_file(folder / "model.safetensors")
    weights["extra"] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors")
    change(folder, weights_sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())
    refused(folder, "do not fit")


def test_an_interrupted_writing_leaves_nothing_that_loads(folder, build, monkeypatch):
    from hmgdm_monai.saving import hub

    def interrupted(*args: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "model_card", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_pretrained(build("vit"), folder)
    refused(folder, "has no config.json")


def test_the_command(build, tiles, tmp_path, monkeypatch, capsys):
    encoder = build("vit")
    save_model(tmp_path / "model.pt", encoder)
    (tmp_path / "data.md").write_text("Twelve biopsies.\n")
    main = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts" / "export_hub.py"))["main"]

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["export_hub.py", *map(str, arguments)])
        return main()

    assert (
        run("--model", tmp_path / "model.pt", "--output", tmp_path / "out", "--data", f"@{tmp_path / 'data.md'}") == 0
    )
    with torch.inference_mode():
        assert torch.equal(from_pretrained(tmp_path / "out")(tiles), encoder(tiles))
    assert "Twelve biopsies." in (tmp_path / "out" / "README.md").read_text()
    capsys.readouterr()
    for wrong in (["--model", tmp_path / "none.pt"], ["--model", tmp_path / "model.pt", "--data", "@none.md"]):
        assert run(*wrong, "--output", tmp_path / "other") == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1
    assert not (tmp_path / "other").exists()
