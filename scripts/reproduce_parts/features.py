"""Representations of the scored tiles, as they are and spoilt, by networks and without."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts.floors import colour_texture, fit_window_components, pooled_components
from reproduce_parts.cohorts import Cohort
from tqdm import tqdm

CLEAN = "clean"
PERTURBATIONS = ("stain shift", "blur", "JPEG", "rotation")
BLUR_SIGMA_PX = 1.5
JPEG_QUALITY = 20
STAIN_FACTORS = (0.7, 1.3)  # least and largest, of haematoxylin and of eosin, drawn for each tile


class ScoredTiles:
    """The labelled tiles of a cohort as they came, without stain normalisation.

    Args:
        data: plain :class:`~hmgdm_monai.engines.pretraining_data.PretrainingData` of the cohort's manifest.
        cohort: knows the labels, which the manifest does not.

    Attributes:
        labels, groups: (N,) class, and biopsy or patient, of each.
        ids: name of each.
    """

    def __init__(self, data: Any, cohort: Cohort) -> None:
        labels = cohort.labels
        rows = data.cohort.tile_rows
        self._places = [place for place, row in enumerate(rows) if row.image in labels]
        self._store = data.cohort.store(tiles=False)
        self.labels = np.array([labels[rows[place].image] for place in self._places])
        self.groups = np.array([rows[place].patient for place in self._places])
        self.ids = [f"{rows[place].id} {place}" for place in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def images(self, kind: str = CLEAN) -> Iterator[np.ndarray]:
        """Tiles (S, S, 3) uint8, in order, as they are or spoilt; see :func:`spoil`."""
        for number, place in enumerate(self._places):
            yield spoil(self._store.image(place), kind, number)


def spoil(image: np.ndarray, kind: str, number: int = 0) -> np.ndarray:
    """A tile (S, S, 3) uint8 as another laboratory, scanner or archive would have left it.

    Args:
        image: as it came.
        kind: "clean"; "stain shift", densities of haematoxylin and eosin by a factor each, drawn by ``number``; "blur",
            a Gaussian; "JPEG", compressed again; "rotation", a quarter turn.
        number: of the tile.

    Raises:
        ValueError: another kind.
    """
    if kind == CLEAN:
        return image
    if kind == "stain shift":
        from skimage.color import hed2rgb, rgb2hed

        hed = rgb2hed(image)
        hed[..., :2] *= np.random.default_rng(number).uniform(*STAIN_FACTORS, size=2)
        return np.rint(255 * hed2rgb(hed).clip(0, 1)).astype(np.uint8)
    if kind == "blur":
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(image, (BLUR_SIGMA_PX, BLUR_SIGMA_PX, 0))
    if kind == "JPEG":
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
        return np.asarray(Image.open(buffer))
    if kind == "rotation":
        return np.ascontiguousarray(np.rot90(image))
    raise ValueError(f"kind must be {CLEAN!r} or one of {PERTURBATIONS}, not {kind!r}")


def encoder_function(model: Path, batch_size: int = 32) -> tuple[str, Callable[[Iterator[np.ndarray]], np.ndarray]]:
    """What names an encoder and how it takes tiles, and its function from tiles to embeddings (N, S).

    The function normalises stains where the encoder was trained so.
    """
    import torch

    from hmgdm_monai.networks.pretrained import load_pretrained

    encoder = load_pretrained(model)

    def embed(images: Iterator[np.ndarray]) -> np.ndarray:
        parts, waiting = [], []

        def empty() -> None:
            if waiting:
                batch = torch.from_numpy(np.stack(waiting).transpose(0, 3, 1, 2).copy()).float()
                parts.append(encoder(batch).numpy())
                waiting.clear()

        with torch.inference_mode():
            for image in images:
                waiting.append(image)
                if len(waiting) == batch_size:
                    empty()
            empty()
        return np.concatenate(parts).astype(np.float64)

    data = {name: value for name, value in encoder.run_settings["data"].items() if name not in ("manifest", "seed")}
    return f"{encoder.digest()} {data}", embed


def floor_function(name: str, data: Any, stain: Any) -> Callable[[Iterator[np.ndarray]], np.ndarray]:
    """Function from tiles to the features "colour" or "pca".

    Args:
        name: of the features.
        data: of the cohort, under the same stain; components are fitted to windows of at most 1,200 of all its tiles.
        stain: normalises tiles first, or None.
    """
    from hmgdm_monai.transforms.entity_graph import build_entity_graph

    def normalised(image: np.ndarray) -> np.ndarray:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))
        return planes if stain is None else stain(planes)

    if name == "colour":
        return lambda images: np.stack([colour_texture(normalised(image).transpose(1, 2, 0)) for image in images])
    graphs = data.cohort.store(window_px=data.window_px)
    some = [graphs[i] for i in range(0, len(graphs), max(1, len(graphs) // 1200))]
    mean, axes = fit_window_components(some)

    def pool(image: np.ndarray) -> np.ndarray:
        planes = normalised(image)
        graph = build_entity_graph(planes, data.superpixels(planes), data.window_px)
        return pooled_components(graph, mean, axes)

    return lambda images: np.stack([pool(image) for image in images])


def kept_features(
    folder: Path, key: Sequence[str], tiles: ScoredTiles, kind: str, function: Callable[[Iterator[np.ndarray]], Any]
) -> np.ndarray:
    """Features (N, D) of the tiles, computed once for a key (what shapes the function) and a kind of spoiling."""
    told = "\n".join([*key, kind, *tiles.ids])
    path = folder / f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        images = tqdm(tiles.images(kind), total=len(tiles), desc=f"{key[0]}, {kind}", unit="tile", leave=False)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, function(images))
        partial.replace(path)
    return np.load(path)
