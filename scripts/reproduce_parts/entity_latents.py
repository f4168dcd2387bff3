"""Latents of entities, encoded once for all methods and seeds: of the training tiles, and of the scored ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmark_parts.representation import write_json
from reproduce_parts.corruption import CLEAN
from reproduce_parts.scored_tiles import ScoredTiles
from reproduce_parts.work import Work
from tqdm import tqdm

if TYPE_CHECKING:
    from hmgdm_monai.data.stores.latent_store import LatentStore
    from hmgdm_monai.data.stores.ragged_unit import StoredTile
    from hmgdm_monai.entities.entity_encoder import EntityEncoder


def prepare_entities(work: Work, tiles: ScoredTiles) -> None:
    """Encode the latents that a method on entities reads, if they are missing."""
    config = work.config()
    entities, run_settings = config.get_parsed_content("entities"), config.get_parsed_content("run_folder").settings
    if work.method.family == "graphs":
        _encode_training_tiles(config.get_parsed_content("data"), entities, work.stores)
    if work.method.family in ("graphs", "entities"):
        for kind in (CLEAN, *work.kinds):
            scored_latents(entities, run_settings, tiles, kind, work.stores)


def encoding_cpu_min(work: Work) -> float:
    """Return the CPU minutes of encoding training tiles and degraded views, whichever run has encoded them."""
    config = work.config()
    data, entities = config.get_parsed_content("data"), config.get_parsed_content("entities")
    notes = [_spent_path(work.stores, data, entities, views) for views in _view_counts(data)]
    return sum(json.loads(note.read_text()) for note in notes) / 60


def scored_latents(
    entities: EntityEncoder, run_settings: Mapping[str, Any], tiles: ScoredTiles, kind: str, stores: Path
) -> LatentStore:
    """Return latent graphs of the scored tiles, clean or corrupted, in their order; encode missing ones.

    Entities are those of the corrupted tile. Stains are normalized after the corruption, as in practice.

    Args:
        entities: frozen encoder.
        run_settings: settings of a model, which define how a tile becomes a graph.
        tiles: the scored tiles.
        kind: kind of corruption.
        stores: folder of the stores.
    """
    import torch

    from hmgdm_monai.data.stores.latent_store import LatentStore, latent_settings, write_latent_unit
    from hmgdm_monai.data.stores.ragged_unit import StoredTile
    from hmgdm_monai.networks.encoders.tile_sample import TileToGraph
    from hmgdm_monai.preparation.recipe import recipe_of

    recipe = recipe_of(run_settings)
    to_graph = TileToGraph(recipe.transforms, recipe.tile_spec.mpp)
    source = {"tiles": tiles.key, "corruption": kind, **recipe.settings()}
    settings = latent_settings(source, entities.digest(), edge_latents=entities.edge_latents)

    def encoded() -> Iterator[StoredTile]:
        images = zip(tiles.images(kind), tiles.ids, strict=True)
        for image, name in tqdm(images, total=len(tiles), desc=f"latents, {kind}", unit="tile", leave=False):
            with torch.inference_mode():
                graph = entities.latent_graph(to_graph(np.ascontiguousarray(image.transpose(2, 0, 1))))
            yield StoredTile(graph, name, (0, 0), None)

    return LatentStore([write_latent_unit(stores / "scored_latents", kind, encoded(), settings)])


def _encode_training_tiles(data: Any, entities: EntityEncoder, stores: Path) -> None:
    """Encode the original tiles, then their degraded views, and record the time of each."""
    views = data.degraded_views
    for count in _view_counts(data):
        data.degraded_views, before = count, data.cpu_s
        data.encode(entities)
        note, spent = _spent_path(stores, data, entities, count), data.cpu_s - before
        note.parent.mkdir(parents=True, exist_ok=True)
        if not note.exists() or json.loads(note.read_text()) < spent:  # existing latents take no time
            write_json(note, spent)
    data.degraded_views = views


def _view_counts(data: Any) -> list[int]:
    return sorted({0, data.degraded_views})


def _spent_path(stores: Path, data: Any, entities: EntityEncoder, views: int) -> Path:
    how = data.degrade.settings if views else None
    identity = [entities.digest(), [path.name for path in data.cohort.paths], views, how]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    return stores / "encoding_cpu_s" / f"{key}.json"
