"""The commands and the Python of docs/qupath.md run as they stand."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch
from recipes import recipe_settings

from hmgdm_monai.data.manifest.manifest import OPTIONAL, read_manifest
from hmgdm_monai.saving.encoder_file import save_encoder
from hmgdm_monai.saving.tile_encoders import build_tile_encoder

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "qupath.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.S) for line in block.splitlines()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Function that runs the commands of a script in a folder as the document has it."""
    names = ("clam/patches/TCGA-AA-0001-01Z.h5", "trident/20x_256px_0px_overlap/patches/TCGA-AA-0001-01Z_patches.h5")
    for name in ("slides/TCGA-AA-0001-01Z.svs", "regions/TCGA-AA-0001-01Z.geojson", *names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    vit = {"image_px": 32, "patch_px": 8, "hidden_dim": 8, "num_layers": 1, "heads": 2}
    encoder = build_tile_encoder("vit", {"vit": vit, "readout": "mean"}, {"recipe": recipe_settings(32)})
    save_encoder(tmp_path / "runs" / "pretraining" / "model.pt", encoder)
    monkeypatch.chdir(tmp_path)

    def run(script: str) -> int:
        found = [shlex.split(line) for line in COMMANDS if line.startswith(f"python {script}")]
        for arguments in found:
            monkeypatch.setattr(sys, "argv", arguments[1:])
            assert runpy.run_path(str(ROOT / script))["main"]() == 0, arguments
        return len(found)

    return run


def test_manifests_are_written_as_told(run):
    assert run("scripts/make_manifest.py") == 3
    rows = [read_manifest(f"{name}.csv", strict=True).rows[0] for name in ("clam", "trident", "regions")]
    assert rows[0].coords.name == "TCGA-AA-0001-01Z.h5"
    assert (rows[1].coords.name, rows[1].patient) == ("TCGA-AA-0001-01Z_patches.h5", "TCGA-AA-0001")
    assert rows[2].region_classes == ("Tumor", "Stroma")


def test_an_exported_encoder_embeds_as_told(run):
    assert run("scripts/export_hub.py") == 1
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", TEXT, re.S)[0], names)
    assert names["embeddings"].shape == (2, 8)
    assert torch.isfinite(names["embeddings"]).all()


def test_options_and_columns_that_are_told_are_there():
    for line in COMMANDS:
        if "monai.bundle" not in line:
            continue
        config = json.loads((ROOT / re.search(r"--config_file (\S+)", line)[1]).read_text())
        assert set(re.findall(r"--(\w+) ", line)) - {"config_file"} <= set(config), line
    header = re.search(r"```\n(image,patient,regions,.*)\n", TEXT)[1].split(",")
    assert set(header) - {"image", "patient"} <= set(OPTIONAL)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#\s]+)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
