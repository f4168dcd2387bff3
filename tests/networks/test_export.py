"""Exported classifiers do as PyTorch does, on tiles of other sizes than the one they were exported with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifier_file import build_classifier
from hmgdm_monai.networks.export import FORMATS, export, exportable, load_exported
from hmgdm_monai.networks.pretrained import build_tile_encoder
from hmgdm_monai.networks.tile_classifier import TileClassifier

DATA = {"tile_size_px": 64, "stain_method": None, "n_segments": 12, "compactness": 20.0, "merge_threshold": None}
READOUT = ["mean", "std", "edge_mean"]
SETTINGS = {
    "hmgdm": {
        "autoencoder": {"window_px": 16, "widths": [8, 8], "form_channels": 1, "texture_dim": 4, "num_filters": 8},
        "hmgdm": {"latent_dim": 8, "hidden_dim": 16, "num_layers": 2, "heads": 2, "readout": READOUT},
    },
    "vit": {
        "vit": {"image_px": 64, "patch_px": 16, "hidden_dim": 16, "num_layers": 2, "heads": 2},
        "readout": "mean",
    },
}
SETTINGS["vertices"] = {
    **SETTINGS["hmgdm"],
    "hmgdm": {**SETTINGS["hmgdm"]["hmgdm"], "edge_latents": False, "readout": ["mean", "std", "latent_mean"]},
}
KINDS = {"hmgdm": "hmgdm", "vertices": "hmgdm", "vit": "vit"}  # of the settings, of the encoder


def tiles() -> list[Tensor]:
    """Of few and of many superpixels."""
    draw, found = torch.Generator().manual_seed(0), []
    for cell in (8, 32, 16):
        cells = torch.randint(60, 256, (3, 64 // cell, 64 // cell), generator=draw)
        found.append(cells.repeat_interleave(cell, 1).repeat_interleave(cell, 2).to(torch.uint8))
    return found


def classifier(kind: str) -> TileClassifier:
    torch.manual_seed(0)
    encoder = build_tile_encoder(KINDS[kind], SETTINGS[kind], {"data": DATA})
    if KINDS[kind] == "hmgdm":
        encoder.autoencoder.fit(torch.rand(64, 3, 16, 16))
    return build_classifier(encoder.eval(), "finetune", {"num_classes": 3}).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_does_as_pytorch_does(kind: str, ending: str, tmp_path: Path) -> None:
    if ending == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra: export")
        pytest.importorskip("onnxscript", reason="needs the extra: export")
    network = classifier(kind)
    made = exportable(network)
    export(made, tiles()[0], tmp_path / f"classifier.{ending}")
    sizes = {tuple(value.shape for value in made.inputs(tile)) for tile in tiles()}
    assert len(sizes) == (1 if kind == "vit" else 3)
    assert ("edge_windows" in made.input_names) == (kind == "hmgdm") and ("pos" in made.input_names) == (kind != "vit")
    for tile in tiles():
        with torch.no_grad():
            expected = network(tile[None].float())
        found = load_exported(tmp_path / f"classifier.{ending}")(made.inputs(tile))
        assert torch.allclose(found, expected, atol=1e-4)


def test_a_trace_of_graph_building_is_refused_and_not_kept_silently() -> None:
    with pytest.raises(InputError, match="export_model.py") as caught:
        torch.jit.trace(classifier("hmgdm"), tiles()[0][None].float(), check_trace=False)
    assert "\n" not in str(caught.value)


def test_a_network_of_images_traces_as_it_is() -> None:
    network = classifier("vit")
    traced = torch.jit.trace(network, tiles()[0][None].float(), check_trace=False)
    both = torch.stack(tiles()[1:]).float()
    assert torch.allclose(traced(both[:1]), network(both[:1]), atol=1e-5)


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
def test_tiles_of_another_size_are_refused(kind: str) -> None:
    with pytest.raises(InputError, match="64 x 64 px, as the encoder was trained, not"):
        classifier(kind)(torch.zeros(1, 3, 32, 64))


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of pt2, ts, onnx"):
        export(exportable(classifier("vit")), tiles()[0], tmp_path / "classifier.h5")
