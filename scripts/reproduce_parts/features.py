"""Features of the scored tiles, clean and corrupted, by networks and by simple descriptors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmark_parts.baselines import color_texture, pooled, pooled_latents
from common.kept import kept
from reproduce_parts.corruption import CLEAN
from reproduce_parts.entity_latents import scored_latents
from reproduce_parts.methods import STATES
from reproduce_parts.scored_tiles import ScoredTiles
from reproduce_parts.work import Work, shared_data
from tqdm import tqdm

if TYPE_CHECKING:
    from monai.transforms import Compose

    from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
    from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder

ByKind = Callable[[str], np.ndarray]  # kind of corruption -> features (N, D)


def features_of(work: Work, tiles: ScoredTiles, model: Path | None) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return what determines the features, and features (N, D) of the tiles by kind of corruption.

    Each is computed once.

    Args:
        work: work whose method computes the features.
        tiles: the scored tiles.
        model: model file of a method with a network.
    """
    key, function = _function_of(work, tiles, model)
    key = [*key, tiles.key]
    found = {}
    for kind in (CLEAN, *work.kinds):
        computed = kept(work.output / "features", [*key, kind], lambda kind=kind: {"features": function(kind)})
        found[kind] = computed["features"]
    return key, found


def _function_of(work: Work, tiles: ScoredTiles, model: Path | None) -> tuple[list[str], ByKind]:
    family = work.method.family
    if family == "color":
        return ["color", work.stain], lambda kind: color_features(tiles.images(kind), _image_transforms(work))
    if model is None:  # a frozen backbone
        config = work.config()
        entities, run_settings = config.get_parsed_content("entities"), config.get_parsed_content("run_folder").settings
        key = [family, entities.digest(), _data_key(run_settings)]
        if family == "tile":
            return key, lambda kind: tile_features(entities, _progress(tiles, kind), _image_transforms(work))
        return key, lambda kind: pooled_latents(
            _edgeless(scored_latents(entities, run_settings, tiles, kind, work.stores))
        )
    from hmgdm_monai.networks.layers.readout import StatisticsReadout
    from hmgdm_monai.saving.encoder_file import load_encoder

    encoder: Any = load_encoder(model)
    if family == "images":
        key = [encoder.digest(), _data_key(encoder.run_settings)]
        return key, lambda kind: embed_images(encoder, _progress(tiles, kind))
    if work.method.states:
        encoder.hmgdm.readout = StatisticsReadout(STATES)
    key = [encoder.digest(), _data_key(encoder.run_settings)]
    return key, lambda kind: embed_graphs(
        encoder, scored_latents(encoder.entities, encoder.run_settings, tiles, kind, work.stores)
    )


def embed_images(encoder: TileEncoder, images: Iterable[np.ndarray], batch_size: int = 32) -> np.ndarray:
    """Return embeddings (N, S) of tiles (S, S, 3); stains are normalized if the encoder was trained so."""
    import torch

    parts: list[np.ndarray] = []
    waiting: list[np.ndarray] = []

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


def embed_graphs(encoder: GraphTileEncoder, latents: Any) -> np.ndarray:
    """Return embeddings (N, S) of stored latent graphs."""
    from hmgdm_monai.tasks.tiles.data import over_samples

    return over_samples(encoder.embed, latents, "cpu").double().numpy()


def color_features(images: Iterable[np.ndarray], transforms: Compose) -> np.ndarray:
    """Return color and texture (N, 61) of tiles after ``transforms``."""
    return np.stack([color_texture(_changed(image, transforms).transpose(1, 2, 0)) for image in images])


def tile_features(entities: Any, images: Iterable[np.ndarray], transforms: Compose) -> np.ndarray:
    """Return mean and deviation over the tile of the maps of an encoder's backbones, (N, 2 C).

    ``transforms`` change the tile before.
    """
    import torch

    def of_tile(image: np.ndarray) -> np.ndarray:
        tile = torch.from_numpy(_changed(image, transforms))[None]
        maps = [one.flatten(2)[0].T.numpy() for backbone in entities.backbones for one in backbone(tile)]
        return np.concatenate([pooled(one) for one in maps])

    with torch.inference_mode():
        return np.stack([of_tile(image) for image in images]).astype(np.float64)


def _image_transforms(work: Work) -> Compose:
    """Return the transforms before a tile is cut into entities: stain normalization, if set."""
    from hmgdm_monai.transforms.tile_transforms import image_transforms

    return image_transforms(shared_data(work).recipe.transforms)


def _changed(image: np.ndarray, transforms: Compose) -> np.ndarray:
    """Return (3, S, S) of a tile (S, S, 3)."""
    return np.ascontiguousarray(transforms({"image": np.ascontiguousarray(image.transpose(2, 0, 1))})["image"])


def _edgeless(latents: Any) -> Iterator[Any]:
    """Return graphs without latents of edges: the pooled entities are the vertices."""
    for index in range(len(latents)):
        graph = latents[index]
        graph.pop("edge_latents", None)
        yield graph


def _data_key(run_settings: Any) -> str:
    """Return everything that determines a tile and its graph, except the list of tiles."""
    recipe = run_settings["recipe"]
    return json.dumps([recipe["tile_spec"], recipe["transforms"]], sort_keys=True)


def _progress(tiles: ScoredTiles, kind: str) -> Iterator[np.ndarray]:
    yield from tqdm(tiles.images(kind), total=len(tiles), desc=f"features, {kind}", unit="tile", leave=False)
