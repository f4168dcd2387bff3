"""From graph stores to latent stores: every entity window through the frozen autoencoder, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from hmgdm_monai.data.entity_graph import EntityGraph, entity_windows
from hmgdm_monai.data.graph_store import GraphStore
from hmgdm_monai.data.latent_store import latent_settings, write_latent_unit
from hmgdm_monai.data.ragged_unit import StoredTile, unit_path
from hmgdm_monai.engines.degraded_graphs import DegradedGraphs
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.degrade import RandDegrade


def encode_stores(
    autoencoder: nn.Module,
    graph_paths: Sequence[Path | str],
    folder: Path | str,
    checkpoint_path: Path | str,
    window_px: int = 32,
    batch_windows: int = 1024,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    progress: bool = True,
    degrade: RandDegrade | None = None,
    view: int = 0,
    edge_windows: bool = True,
) -> list[Path]:
    """Encode the windows of all vertices, and of all edges where wanted, of graph units.

    Each unit becomes one latent unit, written whole or not at all and keyed by its graphs' settings, the checkpoint's
    content, the window size and whether edges have latents, so an interrupted run goes on with the first unit that is
    missing.

    Args:
        autoencoder: with ``encode``: windows (N, 3, w, w) float in [0, 1] -> latents (N, Z), deterministic. It is moved
            to `device` and runs in evaluation mode; its own mode is restored after.
        graph_paths: units of a graph store.
        folder: of the latent store; made where missing.
        checkpoint_path: of the autoencoder's weights as they are.
        window_px: side w of the windows.
        batch_windows: most windows encoded at once; those of several tiles share a batch.
        device: where to encode.
        num_workers: processes that read tiles and cut windows ahead.
        progress: show a bar over tiles on stderr.
        degrade: degrades the tiles first, and windows are turned; None leaves them as they came.
        view: number of the view, where tiles are degraded.
        edge_windows: whether edges get latents, too; without, their windows are not even cut.

    Returns:
        The latent units, one for each of `graph_paths`, in that order.

    Raises:
        InputError: a graph unit or the checkpoint cannot be read, or the disk is full.
        ValueError: latents that are not finite in half precision.
    """
    if batch_windows < 1:
        raise InputError(f"encode: batch_windows must be at least 1, not {batch_windows}")
    try:
        common = latent_settings({}, checkpoint_path, edge_windows=edge_windows)
    except OSError as error:
        what = f"{checkpoint_path}: the autoencoder's checkpoint cannot be read ({error.strerror})"
        raise InputError(f"{what}; train the autoencoder first, or give its path") from error
    if degrade is not None:
        common["degraded"] = {"view": view, "turned": True, **degrade.settings}
    store = GraphStore(graph_paths, windows=False)  # of all units the tables alone
    all_settings = [{**common, "graph": unit.settings, "window_px": int(window_px)} for unit in store.units]
    paths = [unit_path(folder, unit.name, settings) for unit, settings in zip(store.units, all_settings, strict=True)]
    standing = sum(len(unit.tiles) for unit, path in zip(store.units, paths, strict=True) if path.exists())

    was_training = autoencoder.training
    autoencoder.to(device).eval()
    name = "latents" if degrade is None else f"latents, view {view}"
    try:
        with tqdm(total=len(store), initial=standing, desc=name, unit="tile", disable=not progress) as bar:
            for unit, settings, path in zip(store.units, all_settings, paths, strict=True):
                if path.exists():
                    continue
                if degrade is None:
                    source = GraphStore([unit.path], window_px=window_px, edge_windows=edge_windows)
                else:
                    source = DegradedGraphs([unit.path], degrade, view, window_px, edge_windows)
                graphs = DataLoader(source, batch_size=None, num_workers=num_workers)
                tiles = (
                    StoredTile(graph, info.row_id, info.location_px, info.mpp)
                    for graph, info in zip(
                        _encoded(autoencoder, graphs, batch_windows, device),
                        (store.tile_info(index) for index in unit.tiles),
                        strict=True,
                    )
                )
                write_latent_unit(folder, unit.name, _counted(tiles, bar), settings)
    finally:
        autoencoder.train(was_training)
    return paths


def _encoded(
    autoencoder: nn.Module, graphs: Iterable[EntityGraph], batch_windows: int, device: torch.device | str
) -> Iterator[EntityGraph]:
    """The graphs in their order with latents in place of windows."""
    waiting: list[EntityGraph] = []
    n_windows = 0
    for graph in graphs:
        count = graph.num_vertices + len(graph.get("edge_windows", ()))
        if waiting and n_windows + count > batch_windows:
            yield from _encode_together(autoencoder, waiting, batch_windows, device)
            waiting, n_windows = [], 0
        waiting.append(graph)
        n_windows += count
    if waiting:
        yield from _encode_together(autoencoder, waiting, batch_windows, device)


def _encode_together(
    autoencoder: nn.Module, graphs: list[EntityGraph], batch_windows: int, device: torch.device | str
) -> list[EntityGraph]:
    parts = [entity_windows(graph) for graph in graphs]
    with torch.inference_mode():
        # One tile may have more windows than fit: it is cut.
        latents = torch.cat(
            [
                autoencoder.encode(windows.to(device).float() / 255).cpu()
                for windows in torch.cat(parts).split(batch_windows)
            ]
        )
    encoded = []
    for graph, piece in zip(graphs, latents.split([len(part) for part in parts]), strict=True):
        vertices = graph.num_vertices
        encoded.append(EntityGraph(pos=graph.pos, edge_index=graph.edge_index, vertex_latents=piece[:vertices]))
        if "edge_windows" in graph:
            encoded[-1].edge_latents = piece[vertices:]
    return encoded


def _counted(tiles: Iterable[StoredTile], bar: tqdm) -> Iterator[StoredTile]:
    for tile in tiles:
        yield tile
        bar.update()
