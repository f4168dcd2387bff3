"""Fixtures for all tests: real data where it is at hand, small synthetic slides, and models in miniature."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny_models import TinyModels
from toy_stage import toy_stage

if TYPE_CHECKING:
    from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder

__all__ = ["toy_stage"]  # a fixture


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real slides and tiles; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("HMGDM_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HMGDM_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def stained() -> Callable[[int, int], np.ndarray]:
    """Function (width, height) -> (height, width, 3) uint8 of smooth stained texture, always the same."""
    from scipy.ndimage import gaussian_filter

    def draw(width: int, height: int) -> np.ndarray:
        noise = gaussian_filter(np.random.default_rng(7).normal(size=(height, width, 2)), (4, 4, 0))
        share = 1 / (1 + np.exp(-noise / noise.std((0, 1))))
        density = share[..., :1] * [0.56, 0.72, 0.41] * 1.5 + share[..., 1:] * [0.22, 0.80, 0.56] * 0.8
        return np.rint(240 * np.exp(-density)).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def write_tiff() -> Callable[..., Path]:
    """Function that writes a TIFF, a pyramid where it is given several levels (finest first)."""
    import tifffile

    def write(
        path: Path, levels: Sequence[np.ndarray], mpp: float | None = 0.5, tile_px: int | None = 128, **options: object
    ) -> Path:
        options = {"photometric": "rgb", **options}
        if tile_px is not None:
            options["tile"] = (tile_px, tile_px)
        with tifffile.TiffWriter(path) as writer:
            for number, pixels in enumerate(levels):
                level_mpp = None if mpp is None else mpp * levels[0].shape[1] / pixels.shape[1]
                resolution = (
                    {} if mpp is None else {"resolution": (1e4 / level_mpp,) * 2, "resolutionunit": "CENTIMETER"}
                )
                writer.write(pixels, subfiletype=int(number > 0), metadata=None, **resolution, **options)
        return path

    return write


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of six synthetic slides of 256 px at 1 um a px, a patient each; two labels, three patients to each.

    Each holds four tiles of 128 px.
    """
    from hmgdm_monai.data.demo import make_demo_cohort

    cohort = make_demo_cohort(tmp_path_factory.mktemp("cohort"), n_patients=6, slide_px=256, mpp=1.0)
    rows = [f"slides/patient_{i:02d}.tif,patient_{i:02d},{('benign', 'Gleason 3+4')[i % 2]}" for i in range(6)]
    manifest = cohort.folder / "labeled.csv"
    manifest.write_text("\n".join(["image,patient,label", *rows]) + "\n")
    return manifest


@pytest.fixture(scope="session")
def tiny() -> TinyModels:
    """Models in miniature."""
    return TinyModels()


@pytest.fixture(scope="session")
def tiny_model(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.pt of a graph encoder in miniature that nobody trained."""
    from hmgdm_monai.saving.encoder_file import save_encoder

    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_encoder(path, tiny.encoder())
    return path


@pytest.fixture(scope="session")
def tiny_pretrained(tiny_model: Path) -> GraphTileEncoder:
    """The model, read from its file; not to be changed."""
    from hmgdm_monai.saving.encoder_file import load_encoder

    return load_encoder(tiny_model)


@pytest.fixture
def graph_paths(tmp_path: Path, stained: Callable) -> list[Path]:
    """Unit "a" of three tiles of 64 px, the second of one color, and unit "b" of two, the last of which is a's first.

    All tiles of a unit are of one row of the manifest.
    """
    from hmgdm_monai.data.stores.graph_store import GraphTile, write_unit
    from hmgdm_monai.transforms.entity_graph import build_entity_graph
    from hmgdm_monai.transforms.superpixels import Superpixels

    pixels = stained(64 * 4, 64).transpose(2, 0, 1)

    def tile(unit: str, place: int, number: int) -> GraphTile:
        image = np.ascontiguousarray(pixels[:, :, 64 * number : 64 * (number + 1)])
        if number == 1:
            image = np.full_like(image, 90)
        graph = build_entity_graph(image, Superpixels(12)(image))
        return GraphTile(graph, f"{unit}/row", (64 * place, 7), 0.5, image.transpose(1, 2, 0))

    return [
        write_unit(tmp_path / "graphs", name, [tile(name, *pair) for pair in enumerate(numbers)], {"n_segments": 12})
        for name, numbers in (("a", (0, 1, 2)), ("b", (3, 0)))
    ]
