"""One unit of a cohort (a slide, or the plain tiles of a patient): from image files to a file of entity graphs."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.manifest.manifest import ManifestRow, base_name
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.slides.tags import read_slide_tags
from hmgdm_monai.data.stores.graph_store import GraphStore, GraphTile, write_unit
from hmgdm_monai.data.stores.quality_table import LeftOutTile, QualityTable, format_left_out
from hmgdm_monai.data.stores.ragged_unit import unit_path
from hmgdm_monai.data.tiles.row_cells import RowCells
from hmgdm_monai.data.tiles.row_locations import row_locations
from hmgdm_monai.data.tiles.tiling import SINGLE_TILE, TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.processes import raise_if_stopped
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.transforms.entity_cutter import NoEntitiesError
from hmgdm_monai.transforms.quality import LeftOutTileError
from hmgdm_monai.transforms.quality_scores import QualityScores
from hmgdm_monai.transforms.tile_transforms import graph_in, transformed

TILES_AT_ONCE = 64  # number of tiles read together; limits the memory per slide
# What an image may raise that cannot be used; all else is a defect. A wrong scale may exceed the memory.
UNUSABLE = (InputError, MemoryError)


@dataclass(frozen=True)
class GraphUnit:
    """The planned content of one file of the graph store.

    Attributes:
        name: row id of the slide, or "tiles of patient P".
        rows: the images, sorted by name.
        folder: folder of the store.
        recipe: how its graphs are made.
        settings: settings of the recipe, and a digest of the identity of each image: id, size, modification time, mpp
            override, and name, size and modification time of its files of coordinates, regions, cells and mask.
    """

    name: str
    rows: tuple[ManifestRow, ...]
    folder: Path
    recipe: TileRecipe
    settings: dict[str, Any]

    @property
    def path(self) -> Path:
        """Path of the file of the unit."""
        return unit_path(self.folder, self.name, self.settings)


@dataclass(frozen=True)
class UnitOutcome:
    """The result of building a unit.

    Attributes:
        n_tiles: number of tiles in its file; 0 if there is no file because none of its images can be used.
        skipped: row id -> reason, one line, for each image that is not in the file.
    """

    n_tiles: int
    skipped: dict[str, str]


class _NoUnitError(Exception):
    """Stops writing a unit if nothing, or only a part of a slide, could be read."""


def plan_units(rows: Sequence[ManifestRow], folder: Path, recipe: TileRecipe) -> tuple[list[GraphUnit], dict[str, str]]:
    """Plan the units of a cohort: one per slide, and one per patient for all plain tiles.

    Plain tiles are PNG, JPEG and similar files, and TIFF files without tiles and pyramid whose sides are at most 1.5
    tile sides long. Only headers are read, no pixels.

    Args:
        rows: rows of the manifest.
        folder: folder of the store.
        recipe: how graphs are made.

    Returns:
        The units, sorted by the names of their images and not in the order of the manifest: random draws and shuffling
        must not depend on the order of its rows. And row id -> reason for images that cannot be opened.
    """
    members: dict[tuple[bool, str], list[tuple[ManifestRow, dict[str, Any]]]] = {}
    skipped: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: (base_name(row.id), row.id)):
        try:
            identity = _identity(row, recipe.reads_cells)
            is_tile = _is_plain_tile(row, recipe.tile_spec)
        except UNUSABLE as error:
            skipped[row.id] = reason_of(error, row)
            continue
        members.setdefault((is_tile, row.patient if is_tile else row.id), []).append((row, identity))
    common = recipe.settings()
    units = []
    for (is_tile, name), theirs in members.items():
        settings = {**common, "images": _digest([identity for _, identity in theirs])}
        rows_of_unit = tuple(row for row, _ in theirs)
        units.append(GraphUnit(f"tiles of patient {name}" if is_tile else name, rows_of_unit, folder, recipe, settings))
    return units, skipped


def stored_rows(unit: GraphUnit) -> list[str] | None:
    """Return the row id of each tile in a unit's file; None if the file is missing or damaged."""
    if not unit.path.exists():
        return None
    try:
        store = GraphStore([unit.path], tiles=False)
    except InputError:
        return None
    return [store.tile_info(index).row_id for index in range(len(store))]


def build_unit(unit: GraphUnit) -> UnitOutcome:
    """Build the file of a unit, completely or not at all.

    An image that cannot be used is skipped and named. An existing file is kept if all images that it lacks still cannot
    be used. It is built again if it is damaged, or if a missing image has become readable.

    Args:
        unit: unit to build.

    Raises:
        InputError: the disk is full.
        Exception: any defect of the program.
    """
    skipped: dict[str, str] = {}
    stored = stored_rows(unit)
    if stored is not None:
        skipped = _still_unusable(unit, set(stored))
        if {row.id for row in unit.rows} <= set(stored) | set(skipped):
            return UnitOutcome(len(stored), skipped)
        skipped = {}
    unit.path.unlink(missing_ok=True)
    counted: list[str] = []
    notes: list[str] = []
    quality = QualityTable()
    try:
        tiles = _unit_tiles(unit, skipped, counted, notes, quality)
        write_unit(unit.folder, unit.name, tiles, unit.settings, notes, quality)
    except _NoUnitError:
        return UnitOutcome(0, skipped)
    return UnitOutcome(len(counted), skipped)


def image_tiles(
    row: ManifestRow, recipe: TileRecipe, notes: list[str] | None = None, quality: QualityTable | None = None
) -> Generator[GraphTile, None, None]:
    """Yield the tiles of one image with their graphs, a few at a time.

    Tiles without an entity are skipped, and so are tiles that the mask or the quality check leaves out.

    Args:
        row: row of the image.
        recipe: how tiles and graphs are made.
        notes: list that gets one line about invalid outlines in the file of cells, and one line about skipped tiles.
        quality: table that gets the scores of the tiles, if they are computed, and the tiles that are left out.

    Raises:
        InputError: the image is unreadable, has no mpp, no tissue or no entity, its file of cells cannot be used, or
            all of its tiles are left out.
    """
    if recipe.transforms is None:
        raise ValueError("the recipe has no transforms: it is for graphs that another program made")
    spec, empty = recipe.tile_spec, 0
    quality = QualityTable() if quality is None else quality
    quality.names, before = QualityScores._fields, len(quality.left_out)
    masked: list[tuple[int, int]] = []
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        cells = RowCells(slide, row, spec.mpp) if recipe.reads_cells else None
        found = row_locations(slide, row, spec, recipe.mask, masked)
        quality.left_out += [LeftOutTile(row.id, place, "mask") for place in masked]
        locations = thin(found, recipe.max_tiles, recipe.seed, row.id)
        mpp = None if slide.mpp is None else spec.mpp
        for start in range(0, len(locations), TILES_AT_ONCE):
            part = locations[start : start + TILES_AT_ONCE]
            for (x, y), pixels in zip(part.tolist(), slide.read_regions(part, spec.size_px, spec.mpp), strict=True):
                raise_if_stopped()
                outlines = None if cells is None else cells.outlines((x, y), spec.size_px)
                known = {"image": pixels.transpose(2, 0, 1), "mpp": mpp, "outlines": outlines}
                try:
                    sample = transformed(recipe.transforms, known)
                except NoEntitiesError:
                    empty += 1
                    continue
                except LeftOutTileError as error:
                    quality.left_out.append(LeftOutTile(row.id, (x, y), error.reason, tuple(error.scores)))
                    continue
                graph = graph_in(sample)
                if "quality" in sample:
                    quality.kept.append(tuple(sample["quality"]))
                yield GraphTile(graph, row.id, (x, y), mpp, graph.image[0].numpy().transpose(1, 2, 0))
    left_out = QualityTable(left_out=quality.left_out[before:]).counts()
    if empty + sum(left_out.values()) - len(masked) == len(locations):
        tiles = len(locations) + len(masked)
        raise InputError(f"{row.image}: {format_left_out(left_out, tiles) if left_out else no_cells(empty, empty)}")
    if notes is not None:
        notes += [] if cells is None else cells.notes
        notes += [f"{row.id}: {no_cells(empty, len(locations))}"] if empty else []
        notes += [f"{row.id}: {format_left_out(left_out, len(locations) + len(masked))}"] if left_out else []


def no_cells(empty: int, tiles: int) -> str:
    """Return the message about tiles that show no cell."""
    if empty == tiles:
        return f"no cell is found in its {tiles} tiles" if tiles > 1 else "no cell is found in it, so it has no graph"
    return f"{empty} of its {tiles} tiles show no cell and are skipped"


def thin(locations: np.ndarray, max_tiles: int | None, seed: int, row_id: str) -> np.ndarray:
    """Draw at most `max_tiles` locations: one from each of `max_tiles` runs of equal length; the order stays.

    Args:
        locations: (N, 2).
        max_tiles: maximum number of locations; None takes all.
        seed: seed of the draw.
        row_id: id of the image, so that slides of the same size do not all get the same locations.
    """
    if max_tiles is None or len(locations) <= max_tiles:
        return locations
    generator = np.random.default_rng([seed, zlib.crc32(base_name(row_id).encode())])
    edges = np.arange(max_tiles + 1) * len(locations) // max_tiles
    return locations[generator.integers(edges[:-1], edges[1:])]


def reason_of(error: InputError | MemoryError, row: ManifestRow) -> str:
    """Return the message of an error without the path of the image, which is shown beside it.

    Args:
        error: one of :data:`UNUSABLE`.
        row: row of the image.
    """
    if isinstance(error, MemoryError):
        return "it does not fit into memory; check its mpp, or free memory"
    return " ".join(str(error).removeprefix(f"{row.image}: ").split())


def _unit_tiles(
    unit: GraphUnit, skipped: dict[str, str], counted: list[str], notes: list[str], quality: QualityTable
) -> Iterator[GraphTile]:
    """Yield the tiles of all images of a unit.

    Args:
        unit: unit to build.
        skipped: gets row id -> reason for images that cannot be used.
        counted: gets the row id of each tile.
        notes: gets the notes of :func:`image_tiles`.
        quality: gets the scores and left-out tiles of :func:`image_tiles`.
    """
    for row in unit.rows:
        before = len(counted)
        try:
            # This catches only errors of the image. A full disk raises in the writer, which is outside this block.
            for tile in image_tiles(row, unit.recipe, notes, quality):
                counted.append(row.id)
                yield tile
        except UNUSABLE as error:
            skipped[row.id] = reason_of(error, row)
            if len(counted) > before:  # the slide is damaged halfway: do not store a part of it
                raise _NoUnitError from error
    if not counted:
        raise _NoUnitError


def _still_unusable(unit: GraphUnit, stored: set[str]) -> dict[str, str]:
    """Return row id -> reason for the images that are missing in the unit's file and still cannot be used."""
    reasons = {}
    for row in unit.rows:
        if row.id not in stored:
            try:
                with closing(image_tiles(row, unit.recipe)) as tiles:
                    next(tiles)
            except UNUSABLE as error:
                reasons[row.id] = reason_of(error, row)
    return reasons


def _identity(row: ManifestRow, reads_cells: bool) -> dict[str, Any]:
    """Return values that distinguish an image from another file at the same path, without reading pixels."""
    if row.image == row.graphs:
        raise InputError(
            f"{row.image}: holds graphs, and their image is not named; set entity_kind graphs, or fill in the column "
            "image"
        )
    try:
        with row.image.open("rb") as file:
            stat = os.fstat(file.fileno())
    except OSError as error:
        raise InputError(f"{row.image}: cannot be opened ({error.strerror}); check the path and access") from error
    identity = {"id": row.id, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "mpp": row.mpp}
    files = {
        "coords": row.coords,
        "regions": row.regions,
        "cells": row.cells if reads_cells else None,
        "mask": row.mask,
    }
    for name, path in files.items():
        if path is not None:
            try:
                stat = path.stat()
            except OSError as error:
                raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path and access") from error
            identity[name] = [path.name, stat.st_size, stat.st_mtime_ns]
    if row.region_classes:
        identity["region_classes"] = sorted(set(row.region_classes))
    return identity


def _digest(identities: list[dict[str, Any]]) -> str:
    """Return a digest of the identities; thousands of them would not fit into an HDF5 attribute."""
    return hashlib.sha256(json.dumps(identities, sort_keys=True).encode()).hexdigest()


def _is_plain_tile(row: ManifestRow, spec: TileSpec) -> bool:
    tags = read_slide_tags(row.image)
    if not tags.plain or not tags.level_sizes_px:  # a slide, or not a TIFF file
        return tags.plain
    mpp = row.mpp or tags.mpp_xy[0] or tags.mpp_xy[1] or spec.mpp
    return max(tags.level_sizes_px[0]) * mpp / spec.mpp <= SINGLE_TILE * spec.size_px
