"""Exported classifiers do as PyTorch does, on tiles of other sizes than the one they were exported with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier
from hmgdm_monai.saving.classifier_file import build_classifier
from hmgdm_monai.saving.export import export, exportable, load_exported

READOUT = ["mean", "std", "latent_mean", "latent_std"]
KINDS: dict[str, dict[str, Any]] = {
    "hmgdm": {"readout": [*READOUT, "edge_mean"]},
    "vertices": {"edge_latents": False, "readout": READOUT},
    "resized": {"readout": READOUT},  # to a side of which a cell of the maps is no whole number of pixels
    "vit": {},
}


def tiles() -> list[Tensor]:
    """Of few and of many superpixels."""
    draw, found = torch.Generator().manual_seed(0), []
    for cell in (8, 32, 16):
        cells = torch.randint(60, 256, (3, 64 // cell, 64 // cell), generator=draw)
        found.append(cells.repeat_interleave(cell, 1).repeat_interleave(cell, 2).to(torch.uint8))
    return found


@pytest.fixture(scope="module")
def classifier(tiny: Any) -> Callable[..., TileClassifier]:
    """Function (kind, mode) -> a classifier of three classes that nobody trained."""

    def build(kind: str, mode: str = "finetune") -> TileClassifier:
        resized = {**tiny.backbone, "resize_px": 80}
        entities = tiny.entities(backbones=resized) if kind == "resized" else None
        encoder = tiny.encoder("vit" if kind == "vit" else "hmgdm", entities=entities, num_layers=1, **KINDS[kind])
        torch.manual_seed(0)
        if mode == "finetune":
            return build_classifier(encoder, mode, {"num_classes": 3}).eval()
        with torch.no_grad():
            size = encoder(tiles()[0][None]).shape[1]
        network = build_classifier(encoder, mode, {"num_features": size, "num_classes": 3}).eval()
        network.head.set(torch.randn(3, size) / size**0.5, torch.randn(3))
        return network

    return build


def compare(network: TileClassifier, ending: str, folder: Path) -> None:
    """Export by one tile, and run the file on all."""
    made = exportable(network)
    export(made, tiles()[0], folder / f"classifier.{ending}")
    loaded = load_exported(folder / f"classifier.{ending}")
    logits = []
    for tile in tiles():
        with torch.no_grad():
            logits.append(network(tile[None].float()))
        assert torch.allclose(loaded(made.inputs(tile)), logits[-1], atol=1e-4)
    assert (logits[0] - logits[1]).abs().max() > 1e-2  # what comes out depends on what goes in


def test_tiles_differ_in_their_numbers_of_entities(classifier: Callable[..., TileClassifier]) -> None:
    made = exportable(classifier("hmgdm"))
    assert made.input_names == ("image", "label_map", "edge_index", "pos")
    inputs = [made.inputs(tile) for tile in tiles()]
    assert len({tuple(value.shape for value in given) for given in inputs}) == 3
    assert len({given[0].shape for given in inputs}) == len({given[1].shape for given in inputs}) == 1


@pytest.mark.parametrize("mode", ["finetune", "linear"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_does_as_pytorch_does(
    kind: str, mode: str, classifier: Callable[..., TileClassifier], tmp_path: Path
) -> None:
    compare(classifier(kind, mode), "ts", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_torch_export_does_as_pytorch_does(
    kind: str, classifier: Callable[..., TileClassifier], tmp_path: Path
) -> None:
    compare(classifier(kind, "linear"), "pt2", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_does_as_pytorch_does(kind: str, classifier: Callable[..., TileClassifier], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra: export")
    compare(classifier(kind, "linear"), "onnx", tmp_path)


def test_entities_that_leave_tensors_cannot_be_exported(tiny: Any, tmp_path: Path) -> None:
    network = torch.nn.Conv2d(3, 4, 8, 8)
    torch.jit.trace(network, torch.zeros(1, 3, 64, 64)).save(tmp_path / "maps.ts")
    cases = [
        (tiny.entities("window_autoencoder"), "only entities of a backbone"),
        (tiny.entities(view="window"), "with view tile"),
        (tiny.entities(shape_channels=True), "without shape_channels"),
        (tiny.entities(backbones=str(tmp_path / "maps.ts")), r"maps\.ts: is an exported file itself"),
    ]
    for entities, told in cases:
        network = build_classifier(tiny.encoder(entities=entities), "finetune", {"num_classes": 3})
        with pytest.raises(InputError, match=told) as caught:
            exportable(network)
        assert "\n" not in str(caught.value)


def test_a_trace_of_graph_building_is_refused_and_not_kept_silently(classifier: Callable[..., TileClassifier]) -> None:
    with pytest.raises(InputError, match="export_model.py") as caught:
        torch.jit.trace(classifier("hmgdm"), tiles()[0][None].float(), check_trace=False)
    assert "\n" not in str(caught.value)


def test_a_network_of_images_traces_as_it_is(classifier: Callable[..., TileClassifier]) -> None:
    network = classifier("vit")
    traced = torch.jit.trace(network, tiles()[0][None].float(), check_trace=False)
    both = torch.stack(tiles()[1:]).float()
    assert torch.allclose(traced(both[:1]), network(both[:1]), atol=1e-5)


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
def test_tiles_of_another_size_are_refused(kind: str, classifier: Callable[..., TileClassifier]) -> None:
    with pytest.raises(InputError, match="64 x 64 px, as the encoder was trained, not"):
        classifier(kind)(torch.zeros(1, 3, 32, 64))


def test_an_unknown_ending_is_refused(classifier: Callable[..., TileClassifier], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of pt2, ts, onnx"):
        export(exportable(classifier("vit")), tiles()[0], tmp_path / "classifier.h5")
