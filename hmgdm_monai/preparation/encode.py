"""From graph stores to latent stores: the frozen entity encoder encodes every tile once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch_geometric.loader import DataLoader
from tqdm import tqdm

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.latent_store import latent_settings, write_latent_unit
from hmgdm_monai.data.stores.ragged_unit import StoredTile, unit_path
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.degraded_tiles import DegradedTiles
from hmgdm_monai.transforms.degrade import RandDegrade


def encode_stores(
    entities: EntityEncoder,
    graph_paths: Sequence[Path | str],
    folder: Path | str,
    batch_tiles: int = 16,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    progress: bool = True,
    degrade: RandDegrade | None = None,
    view: int = 0,
) -> list[Path]:
    """Encode the entities of graph units.

    Each unit becomes one latent unit, written completely or not at all. Its name depends on the settings of its graphs
    and on the digest of the entity encoder, so an interrupted run resumes with the first missing unit.

    Args:
        entities: entity encoder; it is moved to `device`.
        graph_paths: files of the units of a graph store.
        folder: folder of the latent store; created if missing.
        batch_tiles: number of tiles encoded at once.
        device: device of the entity encoder.
        num_workers: number of processes that read tiles in advance.
        progress: show a progress bar over tiles on stderr.
        degrade: degrades and rotates the tiles first; None keeps them unchanged.
        view: number of the view, if tiles are degraded.

    Returns:
        The files of the latent units, in the order of `graph_paths`.

    Raises:
        InputError: a graph unit cannot be read, a backbone refuses its tiles, or the disk is full.
        ValueError: latents are not finite in half precision.
    """
    if batch_tiles < 1:
        raise InputError(f"encode: batch_tiles must be at least 1, not {batch_tiles}")
    common = latent_settings({}, entities.digest(), edge_latents=entities.edge_latents)
    if degrade is not None:
        common["degraded"] = {"view": view, "turned": True, **degrade.settings}
    store = GraphStore(graph_paths, tiles=False)  # reads only the tables of the units
    all_settings = [{**common, "graph": unit.settings} for unit in store.units]
    paths = [unit_path(folder, unit.name, settings) for unit, settings in zip(store.units, all_settings, strict=True)]
    standing = sum(len(unit.tiles) for unit, path in zip(store.units, paths, strict=True) if path.exists())

    entities.to(device).eval()
    name = "latents" if degrade is None else f"latents, view {view}"
    with tqdm(total=len(store), initial=standing, desc=name, unit="tile", disable=not progress) as bar:
        for unit, settings, path in zip(store.units, all_settings, paths, strict=True):
            if path.exists():
                continue
            source = GraphStore([unit.path]) if degrade is None else DegradedTiles([unit.path], degrade, view)
            tiles = (
                StoredTile(graph, info.row_id, info.location_px, info.mpp)
                for graph, info in zip(
                    _encoded(entities, DataLoader(source, batch_tiles, num_workers=num_workers), device),
                    (store.tile_info(index) for index in unit.tiles),
                    strict=True,
                )
            )
            write_latent_unit(folder, unit.name, _counted(tiles, bar), settings)
    return paths


def _encoded(
    entities: EntityEncoder, batches: Iterable[EntityGraph], device: torch.device | str
) -> Iterator[EntityGraph]:
    """Yield the graphs of all batches one by one, with latents on the CPU."""
    for batch in batches:
        with torch.inference_mode():
            vertices, edges = entities(batch.to(device))
        vertex_counts = torch.bincount(batch.batch, minlength=batch.num_graphs).tolist()
        edge_counts = torch.bincount(batch.edge_batch, minlength=batch.num_graphs).tolist()
        first = 0
        parts = [part.cpu().split(counts) for part, counts in ((vertices, vertex_counts), (batch.pos, vertex_counts))]
        ends = batch.edge_index.cpu().split(edge_counts, dim=1)
        edge_parts = None if edges is None else edges.cpu().split(edge_counts)
        for number, count in enumerate(vertex_counts):
            graph = EntityGraph(pos=parts[1][number], edge_index=ends[number] - first, vertex_latents=parts[0][number])
            if edge_parts is not None:
                graph.edge_latents = edge_parts[number]
            first += count
            yield graph


def _counted(tiles: Iterable[StoredTile], bar: tqdm) -> Iterator[StoredTile]:
    for tile in tiles:
        yield tile
        bar.update()
