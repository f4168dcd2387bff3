"""Model files: what MONAI loads of them, and that no damage to one goes unseen."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from monai.networks.utils import copy_model_state
from torch import Tensor, nn

from hmgdm_monai.data.files.json_tensor import json_to_tensor, tensor_to_json
from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.encoder_file import load_encoder, save_encoder
from hmgdm_monai.saving.model_file import DESCRIPTION, build_model, read_model, rewrite_model, write_model


@pytest.fixture
def vit(tiny: Any, tmp_path: Path) -> Path:
    """model.pt of a vision transformer in miniature."""
    save_encoder(tmp_path / "vit.pt", tiny.encoder("vit"))
    return tmp_path / "vit.pt"


def strict(network: nn.Module, path: Path) -> None:
    network.load_state_dict(torch.load(path, weights_only=True))


def copied(network: nn.Module, path: Path) -> None:
    _, changed, unchanged = copy_model_state(network, torch.load(path, weights_only=True))
    # The file's description is longer than the network's, by format and digest.
    assert len(changed) > 10 and unchanged in ([], [DESCRIPTION])


def handler(network: nn.Module, path: Path) -> None:
    engine = Engine(lambda *_: None)
    CheckpointLoader(str(path), {"network": network}).attach(engine)
    engine.run([0], 1)


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
@pytest.mark.parametrize("load", [strict, copied, handler])
def test_monai_loads_it(load: Callable, kind: str, tiny: Any, tmp_path: Path) -> None:
    encoder, network = tiny.encoder(kind), tiny.encoder(kind)
    save_encoder(tmp_path / "model.pt", encoder)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert network.digest() != encoder.digest()
    load(network, tmp_path / "model.pt")
    assert network.digest() == encoder.digest() and network.run_settings == encoder.run_settings


def same(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_changed_byte_is_refused_or_of_no_effect(vit: Path, tmp_path: Path) -> None:
    content, damaged, expected = vit.read_bytes(), tmp_path / "damaged.pt", load_encoder(vit)
    draw, refused = random.Random(0), 0
    for _ in range(100):
        place = draw.randrange(len(content))
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        damaged.write_bytes(changed)
        try:
            found = load_encoder(damaged)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and "damaged.pt" in str(error)
        else:
            assert same(found, expected), f"bit of byte {place}"
    assert refused > 50


def test_one_flipped_bit_of_a_weight_is_told(vit: Path) -> None:
    weight = next(value for value in load_encoder(vit).weights().values() if value.numel() > 50)
    content, weights = vit.read_bytes(), weight.numpy().tobytes()
    place = content.index(weights) + 4
    vit.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match=r"vit\.pt: is damaged, its content has another SHA-256"):
        load_encoder(vit)


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], None]) -> Path:
    """The file with other content and the digest of that."""
    state = torch.load(path, weights_only=True)
    told = {name: value for name, value in tensor_to_json(state[DESCRIPTION]).items() if name != "sha256"}
    change(told, state)
    write_model(path, told.pop("content"), state, told)
    return path


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told, state: state.pop(max(state)), r"lacks the weights vit\."),
        (lambda told, state: state.update({"head.a": torch.zeros(1), "head.b": torch.zeros(1)}), "head.a and 1 more"),
        (lambda told, state: told["settings"]["vit"].update(heads=0), "damaged, or of another version"),
        (lambda told, state: told["settings"]["vit"].update(heads=-1), "damaged, or of another version"),
        (lambda told, state: told["settings"]["vit"].update(heads="two"), "damaged, or of another version"),
        (lambda told, state: told["settings"]["vit"].update(unheard_of=1), "damaged, or of another version"),
        (lambda told, state: told["settings"]["vit"].update(hidden_dim=32), "size mismatch"),
        (lambda told, state: told.update(settings=None), "damaged, or of another version"),
        (lambda told, state: told.pop("kind"), "damaged, or of another version"),
        (lambda told, state: told.update(kind="resnet"), "no encoder of kind 'resnet'"),
        (lambda told, state: told.update(format=5), "of format 5, this version reads format 4"),
        (lambda told, state: told.update(content="classifier"), "another kind: classifier, not encoder"),
    ],
)
def test_what_does_not_fit_is_one_line(change: Callable, expected: str, vit: Path) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        load_encoder(changed(vit, change))
    assert "\n" not in str(caught.value) and "vit.pt" in str(caught.value)


def test_zero_attention_heads_of_graphs_are_one_line(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(tiny_model.read_bytes())
    with pytest.raises(InputError, match=r"model\.pt: is damaged, or of another version") as caught:
        load_encoder(changed(path, lambda told, state: told["settings"]["hmgdm"].update(heads=0)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", [torch.zeros(3), torch.zeros(0, dtype=torch.uint8), "text", 3, json_to_tensor([1])])
def test_a_description_that_is_none_is_one_line(entry: Any, tmp_path: Path) -> None:
    torch.save({DESCRIPTION: entry, "weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: is damaged") as caught:
        load_encoder(tmp_path / "model.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_keep_their_type_in_the_file(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {"weight": torch.randn(2, 3).to(dtype), "bias": torch.tensor([1.0, 2.0])}
    write_model(tmp_path / "m.pt", "layer", state, {"width": (2, 3)})
    told, found = read_model(tmp_path / "m.pt", "layer", "give another")
    assert told == {"width": [2, 3]} and found["weight"].dtype == dtype
    network = build_model(tmp_path / "m.pt", lambda: nn.Linear(3, 2), found, "give another")
    assert torch.equal(network.weight, state["weight"].float()) and not network.training


def test_a_rewritten_file_has_other_descriptions_and_the_same_weights(vit: Path, tmp_path: Path) -> None:
    def renamed(told: dict[str, Any]) -> dict[str, Any]:
        return {**told, "run_settings": {**told["run_settings"], "data": {"manifest": "here.csv"}}}

    rewrite_model(vit, tmp_path / "new.pt", renamed)
    before, after = load_encoder(vit), load_encoder(tmp_path / "new.pt")
    assert after.run_settings["data"]["manifest"] == "here.csv" and after.digest() == before.digest()
