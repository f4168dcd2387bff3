"""Graphs made by another program, stored as latent graphs; training and embedding use them without images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.files.graph_files import read_graphs
from hmgdm_monai.data.manifest.manifest import Manifest, ManifestRow, base_name, read_manifest
from hmgdm_monai.data.stores.latent_store import LatentStore, latent_settings, write_latent_unit
from hmgdm_monai.data.stores.ragged_unit import StoredTile, unit_path
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.cohort import CohortGraphs, listed
from hmgdm_monai.preparation.graph_unit import reason_of, thin

_FORMAT = 1  # increase it if the same file is read as other graphs


class GivenCohort(CohortGraphs):
    """The stores of a cohort of graphs that have no tiles; a unit is a row of the manifest."""

    # A cohort without tiles has no GraphStore; whatever reads images checks PretrainingData.has_tiles first.
    def store(self, **kwargs: Any) -> LatentStore:  # type: ignore[override]
        """Return all graphs with their latents as one sequence."""
        return LatentStore(self.paths)

    def _counts(self) -> str:
        return f"{len(self.done)} files of graphs ({sum(count for _, count in self.done)} graphs)"


def build_given_graphs(
    manifest: Manifest | Path | str,
    folder: Path | str,
    max_graphs: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> GivenCohort:
    """Read the graph files of a manifest into stores, each once.

    A file becomes one unit, written completely or not at all. Its name depends on name, size and modification time of
    the graph file. A file that cannot be used is skipped and named, and so is a row without a file.

    Args:
        manifest: the cohort, or the path of its CSV, with a column ``graphs``.
        folder: folder of the stores; created if missing.
        max_graphs: maximum number of graphs per file. If a file has more, that many are drawn, evenly over the file.
            None takes all.
        seed: seed of this draw.
        progress: show a progress bar over files on stderr.

    Returns:
        The units, sorted by the names of their rows, and what was skipped.

    Raises:
        InputError: the manifest cannot be used, no file can be used (one message with one line per reason), or the disk
            is full.
    """
    if max_graphs is not None and max_graphs < 1:
        raise InputError(f"cohort: max_tiles_per_slide must be at least 1, not {max_graphs}")
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest)
    skipped = list(manifest.left_out.items())
    built: list[tuple[ManifestRow, Path, int]] = []
    sizes: list[int] = []  # of a vertex, in each of them
    rows = sorted(manifest.rows, key=lambda row: (base_name(row.id), row.id))  # independent of the manifest's order
    for row in tqdm(rows, desc="graphs", unit="file", disable=not progress):
        try:
            path = _build_unit(row, Path(folder), max_graphs, seed)
            store = LatentStore([path])
            sizes.append(int(store[0].vertex_latents.shape[1]))
            built.append((row, path, len(store)))
        except InputError as error:
            skipped.append((_shown(row), _reason(error, row)))
    if not built:
        raise InputError("\n".join([f"{manifest.path}: none of its graphs could be used:", *listed(skipped)]))
    usual = Counter(sizes).most_common(1)[0][0]
    for (row, *_), size in zip(built, sizes, strict=True):
        if size != usual:
            skipped.append((_shown(row), f"x has {size} numbers per vertex, but most have {usual}; use one encoder"))
    used = [unit for unit, size in zip(built, sizes, strict=True) if size == usual]
    paths, done = [path for _, path, _ in used], [(row.id, count) for row, _, count in used]
    return GivenCohort(paths, {row.id: row for row in manifest.rows}, done, skipped)


def _shown(row: ManifestRow) -> str:
    """Return the path of the graphs as the manifest states it; the row id without graphs."""
    name = row.id if row.graphs is None else os.path.relpath(row.graphs, row.folder or row.graphs.parent)
    return Path(name).as_posix()


def _build_unit(row: ManifestRow, folder: Path, max_graphs: int | None, seed: int) -> Path:
    """Return the unit of a row's graphs; read the graph file only if the unit does not exist."""
    if row.graphs is None:
        raise InputError("the manifest names no graphs for it; fill in its graphs column")
    try:
        stat = row.graphs.stat()
    except OSError as error:
        raise InputError(f"{row.graphs}: cannot be opened ({error.strerror}); check the path and access") from error
    drawn = None if max_graphs is None else {"n": max_graphs, "seed": seed}
    identity = {
        "graphs": [row.id, row.graphs.name, stat.st_size, stat.st_mtime_ns],
        "format": _FORMAT,
        "max_graphs": drawn,
    }
    for edges in (True, False):
        path = unit_path(folder, row.id, latent_settings(identity, "given", "float32", edges))
        if path.exists() and _whole(path):
            return path
    graphs = read_graphs(row.graphs)
    edges = "edge_latents" in graphs[0]
    settings = latent_settings(identity, "given", "float32", edges)
    unit_path(folder, row.id, settings).unlink(missing_ok=True)  # a damaged file
    return write_latent_unit(folder, row.id, _tiles(graphs, row, max_graphs, seed), settings)


def _tiles(graphs: list[EntityGraph], row: ManifestRow, max_graphs: int | None, seed: int) -> Iterator[StoredTile]:
    for number in thin(np.arange(len(graphs)), max_graphs, seed, row.id).tolist():
        yield StoredTile(graphs[number], row.id, (0, 0), None)


def _whole(path: Path) -> bool:
    try:
        return len(LatentStore([path])) > 0
    except InputError:
        return False


def _reason(error: InputError, row: ManifestRow) -> str:
    """Return the message of an error without the path of the file, which is shown beside it."""
    return reason_of(error, row).removeprefix(f"{row.graphs}: ")
