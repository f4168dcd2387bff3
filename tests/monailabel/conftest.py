"""A packaged bundle in miniature, with a classifier that nobody trained, and the server in its own environment."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image
from recipes import recipe_settings

ROOT = Path(__file__).resolve().parents[2]
# Where MONAI Label finds the app's own modules, as `lib`.
sys.path.insert(0, str(ROOT / "scripts" / "monailabel_app"))
sys.path.insert(0, str(Path(__file__).parent))  # hostile_client

from hostile_client import CODE, SECONDS, files_of  # noqa: E402

CLASSES = ("dark", "light & pale")  # a name that XML must not take as it is
TILE_PX, TILE_MPP = 64, 0.5


@pytest.fixture(scope="session")
def write_bundle(tiny: Any) -> Callable[..., Path]:
    """Function (folder, mode, kind of encoder) that writes a bundle of two classes and gives its folder."""
    from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier

    def write(folder: Path, mode: str = "linear", kind: str = "hmgdm") -> Path:
        encoder = tiny.encoder(kind, {**tiny.run, "recipe": recipe_settings(TILE_PX, TILE_MPP)})
        torch.manual_seed(0)
        # What a nearest-neighbor classifier remembers is noise in place of tissue, of both classes alike.
        images = torch.randint(0, 256, (4, 3, TILE_PX, TILE_PX))
        with torch.inference_mode():
            embeddings = encoder(images).clone()
        size = embeddings.shape[1]
        settings = {
            "linear": {"num_features": size, "num_classes": 2},
            "knn": {"num_features": size, "num_classes": 2, "num_examples": 4, "neighbors": 3},
            "finetune": {"num_classes": 2},
        }[mode]
        network = build_classifier(encoder, mode, settings)
        if mode == "linear":
            network.head.set(0.1 * torch.randn(2, size), torch.zeros(2))
        if mode == "knn":
            network.head.set(embeddings, torch.tensor([0, 1, 0, 1]), torch.tensor([1.0, 1.0]))
        (folder / "configs").mkdir(parents=True)
        (folder / "models").mkdir()
        channels = {str(number): name for number, name in enumerate(CLASSES)}
        outputs = {"post_processed_outputs": {"scores": {"channel_def": channels}}}
        metadata = {"version": "0.0.1", "network_data_format": outputs}
        (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
        save_classifier(folder / "models" / "classifier.pt", network, mode, settings, CLASSES, ["P1"], 0)
        return folder

    return write


@pytest.fixture(scope="session")
def tissue(stained: Callable[[int, int], np.ndarray]) -> Callable[[int, int, bool], np.ndarray]:
    """Function (width, height, pale) -> (height, width, 3) uint8."""

    def draw(width: int, height: int, pale: bool) -> np.ndarray:
        pixels = stained(width, height)
        return 255 - (255 - pixels) // 5 * 3 if pale else pixels

    return draw


@pytest.fixture(scope="session")
def copied_app() -> Callable[[Path], Path]:
    """Function (folder) that copies the app to where it may write: MONAI Label keeps logs and models in it."""

    def copied(folder: Path) -> Path:
        ignored = shutil.ignore_patterns("model", "logs", "bin", "__pycache__")
        return shutil.copytree(ROOT / "scripts" / "monailabel_app", folder, ignore=ignored)

    return copied


@pytest.fixture(scope="session")
def running() -> Callable[..., AbstractContextManager[SimpleNamespace]]:
    """Function (app, studies, more options, environment) that gives a server on a free port, until the block ends."""

    @contextmanager
    def run(app: Path, studies: Path, *more: str, **variables: str) -> Iterator[SimpleNamespace]:
        python = ROOT / ".venv-monailabel" / "bin" / "python"
        if not python.exists():
            pytest.skip("no .venv-monailabel: bash scripts/monailabel_app/environment.sh makes it")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [python, "-m", "monailabel.main", "start_server", "-a", app, "-s", studies, "-i", "127.0.0.1"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        log = app.parent / f"{app.name}.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                [*command, "-p", str(port), *more],
                cwd=app.parent,
                env=environment | variables,
                stdout=output,
                stderr=output,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                try:
                    requests.get(f"{url}/openapi.json", timeout=30).raise_for_status()
                    break
                except requests.ConnectionError:
                    assert server.poll() is None, f"the server ended: {log.read_text()[-3000:]}"
                    time.sleep(0.5)
            else:
                pytest.fail(f"the server did not answer within 120 s: {log.read_text()[-3000:]}")
            yield SimpleNamespace(url=url, port=port, log=log, alive=lambda: server.poll() is None)
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    return run


@pytest.fixture(scope="session")
def attacked(tmp_path_factory, write_bundle, write_tiff, tissue, running, copied_app) -> Iterator[SimpleNamespace]:
    """A server with low limits, links that lead out of its studies folder, and a slide that takes long."""
    folder = tmp_path_factory.mktemp("attacked")
    app, studies, outside = copied_app(folder / "app"), folder / "studies", folder / "outside"
    write_bundle(app / "model" / "tiny")
    (studies / "labels" / "final").mkdir(parents=True)
    outside.mkdir()
    tile = Image.fromarray(tissue(64, 64, False))
    tile.save(studies / "tile.png")
    tile.save(outside / "secret.png")
    (outside / "code.py").write_bytes(CODE)
    (studies / "link.png").symlink_to(outside / "secret.png")
    (studies / "through.png").symlink_to(outside / "new.png")
    (studies / "labels" / "linked").symlink_to(outside)
    (studies / "labels" / "final" / "tile.json").symlink_to(outside / "label.json")
    block = tissue(512, 512, False)
    pixels = np.tile(block, (24, 24, 1))
    write_tiff(studies / "large.tif", [pixels, pixels[::8, ::8]], mpp=0.25, compression="zlib")
    limits = {"upload_mb": 2, "label_mb": 0.2, "work_seconds": SECONDS, "slide_tiles": 50_000}
    options = [part for name, value in limits.items() for part in ("--conf", name, str(value))]
    with running(app, studies, *options) as server:
        yield SimpleNamespace(server=server, folder=folder, app=app, studies=studies, outside=outside)


@pytest.fixture
def unharmed(attacked: SimpleNamespace) -> Iterator[None]:
    """After each test every file is as it was, the server is there, and no route ended in an error of its own."""
    before = files_of(attacked)
    yield
    assert files_of(attacked) == before
    assert requests.get(f"{attacked.server.url}/info/", timeout=60).status_code == 200 and attacked.server.alive()
    assert "Exception in ASGI application" not in attacked.server.log.read_text()
