"""What the Model Zoo's CI asks of the packaged bundle, and that the package stands on its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, scripts, verify_metadata, verify_net_in_out

from hmgdm_monai.errors import input_error_in
from hmgdm_monai.saving.classifier_file import load_classifier
from hmgdm_monai.saving.encoder_file import load_encoder

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT.parent / "shared" / "reference" / "meta_schema.json"

# Runs MONAI's command line where this repository can't be found: not as an editable install, nor by a path.
ALONE = """
import json, os, runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
sys.path = [path for path in sys.path if not os.path.isfile(os.path.join(path or ".", "constraints.txt"))]
sys.argv = ["monai.bundle", *sys.argv[1:]]
try:
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
finally:
    print("FOUND", getattr(sys.modules.get("hmgdm_monai"), "__file__", None))
"""


def clean(bundle: Path) -> dict[str, str]:
    """Environment in which a run leaves nothing in the bundle: what Python and numba compile goes elsewhere."""
    return {"PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": str(bundle.parent / "numba")}


def alone(arguments: list[str], cwd: Path, bundle: Path) -> tuple[subprocess.CompletedProcess, Path]:
    """``python -m monai.bundle`` without this repository; and where it found hmgdm_monai."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **clean(bundle)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    return done, Path(line.removeprefix("FOUND "))


def config(bundle: Path) -> dict[str, Any]:
    return {
        "config_file": str(bundle / "configs/inference.json"),
        "meta_file": str(bundle / "configs/metadata.json"),
        "bundle_root": str(bundle),
        "device": "cpu",
    }


@pytest.mark.skipif(not SCHEMA.is_file(), reason=f"MONAI's metadata schema is not at {SCHEMA}")
def test_verify_metadata(packaged: Callable[..., Path]) -> None:
    verify_metadata(meta_file=str(packaged() / "configs/metadata.json"), filepath=str(SCHEMA))


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
def test_verify_net_in_out(kind: str, packaged: Callable[..., Path]) -> None:
    verify_net_in_out(net_id="network_def", **config(packaged(kind)))


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
def test_directory_and_version(kind: str, packaged: Callable[..., Path]) -> None:
    bundle = packaged(kind)
    wanted = ["LICENSE", "configs/metadata.json", "configs/inference.json", "models/model.pt"]
    assert [
        name for name in (*wanted, "docs/README.md", "docs/data_license.txt") if not (bundle / name).is_file()
    ] == []
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    assert metadata["version"] == max(metadata["changelog"])


# Files of weights beside the network that they are the state of.
STATES = {"inference.json": "models/model.pt", "evaluate.json": "models/classifier.pt"}


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
@pytest.mark.parametrize("file", STATES)
def test_the_weights_are_the_state_of_network_def(file: str, kind: str, packaged: Callable[..., Path]) -> None:
    parser = ConfigParser()
    parser.read_config(packaged(kind) / "configs" / file)
    parser["bundle_root"] = str(packaged(kind))
    parser["classifier"] = str(packaged(kind) / "models/classifier.pt")
    parser.get_parsed_content("initialize")
    network = parser.get_parsed_content("network_def")
    state = torch.load(packaged(kind) / STATES[file], weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7)
    network.load_state_dict(state)
    expected = load_encoder if file == "inference.json" else (lambda path: load_classifier(path).network)
    before = expected(packaged(kind) / STATES[file])
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["hmgdm", "vit"])
def test_ckpt_export_loads_model_pt(kind: str, packaged: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of MONAI's command but the conversion to TorchScript, with its own defaults for network and weights."""
    saved: list[torch.nn.Module] = []
    monkeypatch.setattr(scripts, "convert_to_torchscript", lambda model, **_: model)
    monkeypatch.setattr(scripts, "save_net_with_metadata", lambda network, *_, **__: saved.append(network))
    ckpt_export(**config(packaged(kind)))
    assert [network.digest() for network in saved] == [load_encoder(packaged(kind) / "models/model.pt").digest()]


def test_ckpt_export_of_a_network_of_images(packaged: Callable[..., Path], tmp_path: Path) -> None:
    bundle = packaged("vit")
    ckpt_export(filepath=str(tmp_path / "model.ts"), use_trace=True, **config(bundle))
    images = torch.randint(256, (1, 3, 64, 64)).float()
    network = load_encoder(bundle / "models/model.pt")
    assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(images), network(images), atol=1e-4)


def test_ckpt_export_of_a_network_that_builds_graphs_is_refused(packaged: Callable[..., Path], tmp_path: Path) -> None:
    """It would otherwise keep the graph of the one image it was traced with."""
    with pytest.raises(ValueError) as caught:
        ckpt_export(filepath=str(tmp_path / "model.ts"), use_trace=True, **config(packaged("hmgdm")))
    assert "scripts/export_model.py exports what can be" in str(input_error_in(caught.value))
    assert not (tmp_path / "model.ts").exists()


def test_the_package_runs_from_another_folder_without_this_repository(
    packaged: Callable[..., Path], small_slides: Path, tmp_path: Path
) -> None:
    bundle = packaged()
    done, found = alone(
        ["run", "--config_file", str(bundle / "configs/inference.json"), "--bundle_root", str(bundle)]
        + ["--manifest", str(small_slides), "--output_dir", str(tmp_path / "out"), "--device", "cpu"],
        tmp_path,
        bundle,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert found == bundle / "hmgdm_monai/__init__.py"
    assert json.loads((tmp_path / "out/summary.json").read_text())["embedded_slides"] == 6
    assert (tmp_path / "out/maps/s0_probability_a.png").is_file()


def test_the_package_runs_within_its_folder(packaged: Callable[..., Path], small_slides: Path, tmp_path: Path) -> None:
    bundle = packaged()
    done, found = alone(
        ["run", "--config_file", "configs/evaluate.json", "--manifest", str(small_slides)]
        + ["--output_dir", str(tmp_path / "out"), "--device", "cpu"],
        bundle,
        bundle,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert found == bundle / "hmgdm_monai/__init__.py"
    assert json.loads((tmp_path / "out/metrics.json").read_text())["patients"] == 5


def test_bad_input_is_one_line_there_too(packaged: Callable[..., Path], small_slides: Path, tmp_path: Path) -> None:
    bundle = packaged()
    (tmp_path / "classifier.pt").write_bytes(b"no checkpoint")
    done, _ = alone(
        ["run", "--config_file", str(bundle / "configs/inference.json"), "--bundle_root", str(bundle)]
        + ["--classifier", str(tmp_path / "classifier.pt"), "--output_dir", str(tmp_path / "out")]
        + ["--manifest", str(small_slides)],
        tmp_path,
        bundle,
    )
    assert done.returncode != 0 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "classifier.pt" in line


@pytest.mark.slow
def test_exactly_its_packages_are_enough(packaged: Callable[..., Path], real_data: Path, tmp_path: Path) -> None:
    """A fresh environment of what metadata.json pins, and the two commands of the bundle's README on a real slide."""
    bundle = packaged()
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    metadata = json.loads((bundle / "configs/metadata.json").read_text())
    pins = {"torch": "pytorch", "monai": "monai", "numpy": "numpy"}
    wanted = [f"{name}=={metadata[f'{key}_version']}" for name, key in pins.items()]
    wanted += [f"{name}=={version}" for name, version in metadata["required_packages_version"].items()]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True, timeout=1500)
    manifest = tmp_path / "slides.csv"
    manifest.write_text(f"image,patient\n{real_data / 'slides/CMU-1-Small-Region.svs'},P1\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
        + ["--manifest", str(manifest), "--output_dir", str(tmp_path / "out")],
        cwd=bundle,
        env={**environment, **clean(bundle)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tiles = json.loads(next((tmp_path / "out/maps").glob("*.geojson")).read_text())["features"]
    assert len(tiles) > 100 and all(tile["properties"]["classification"]["name"] in "ab" for tile in tiles)
