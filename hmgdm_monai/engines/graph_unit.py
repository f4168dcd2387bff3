"""One unit of a cohort, a slide or the plain tiles of a patient, from image files to a file of entity graphs."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hmgdm_monai.data.graph_store import GraphStore, TileGraph, write_unit
from hmgdm_monai.data.manifest import ManifestRow
from hmgdm_monai.data.ragged_unit import unit_path
from hmgdm_monai.data.row_locations import row_locations
from hmgdm_monai.data.slide import open_slide
from hmgdm_monai.data.slide_tags import read_slide_tags
from hmgdm_monai.data.tiling import SINGLE_TILE, TileSpec
from hmgdm_monai.engines.processes import raise_if_stopped
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.stain import NormalizeStain
from hmgdm_monai.transforms.superpixels import Superpixels

GRAPH_FORMAT = 1  # raised when the same settings come to mean other graphs: stored ones are then computed anew
TILES_AT_ONCE = 64  # read together; bounds the memory that a slide takes


@dataclass(frozen=True)
class GraphRecipe:
    """How tiles and their graphs are made.

    Attributes:
        tile_spec: size, scale and choice of tiles.
        superpixels: cuts a tile into entities.
        stain: normalises a tile before that; None leaves it as it is.
        max_tiles: of one image; where it has more, that many are drawn, spread evenly over its tissue. None takes all.
        seed: of that draw.
    """

    tile_spec: TileSpec
    superpixels: Superpixels
    stain: NormalizeStain | None = None
    max_tiles: int | None = None
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """All of it as values that JSON knows; equal recipes give equal settings."""
        spec, cut = self.tile_spec, self.superpixels
        return {
            "graph_format": GRAPH_FORMAT,
            "tile": {
                "size_px": int(spec.size_px),
                "mpp": float(spec.mpp),
                "overlap_px": int(spec.overlap_px),
                "min_tissue": float(spec.min_tissue),
            },
            "superpixels": {
                "n_segments": int(cut.n_segments),
                "compactness": float(cut.compactness),
                "sigma": float(cut.sigma),
                "iterations": int(cut.iterations),
                "merge_threshold": None if cut.merge_threshold is None else float(cut.merge_threshold),
                "method": cut.method,
            },
            "stain": None if self.stain is None else self.stain.method,
            "max_tiles": None if self.max_tiles is None else {"n": int(self.max_tiles), "seed": int(self.seed)},
        }


@dataclass(frozen=True)
class GraphUnit:
    """What is to stand in one file of the graph store.

    Attributes:
        name: the slide's row id, or "tiles of patient P".
        rows: the images, in the manifest's order.
        folder: of the store.
        recipe: how its graphs are made.
        settings: the recipe's, with a digest of the identity (id, size, time of change, mpp override; likewise of files
            of coordinates and regions) of each image.
    """

    name: str
    rows: tuple[ManifestRow, ...]
    folder: Path
    recipe: GraphRecipe
    settings: dict[str, Any]

    @property
    def path(self) -> Path:
        """Where it stands once it is built."""
        return unit_path(self.folder, self.name, self.settings)


@dataclass(frozen=True)
class UnitOutcome:
    """What came of a unit.

    Attributes:
        n_tiles: in its file; 0 where there is no file, because none of its images can be used.
        skipped: row id -> why that image is not in it, one line.
    """

    n_tiles: int
    skipped: dict[str, str]


class _NoUnitError(Exception):
    """Ends the writing of a unit of which nothing, or only a part of a slide, could be read."""


def plan_units(
    rows: Sequence[ManifestRow], folder: Path, recipe: GraphRecipe
) -> tuple[list[GraphUnit], dict[str, str]]:
    """Which units a cohort has: one for each slide, one for all plain tiles of each patient.

    Plain tiles are PNG, JPEG and the like, and TIFFs without tiles and pyramid of no more than 1.5 tiles a side.
    Headers are read, no pixels.

    Args:
        rows: of the manifest.
        folder: of the store.
        recipe: how graphs are made.

    Returns:
        The units by their first rows in the manifest; and row id -> why, for images that cannot even be opened.
    """
    members: dict[tuple[bool, str], list[tuple[ManifestRow, dict[str, Any]]]] = {}
    skipped: dict[str, str] = {}
    for row in rows:
        try:
            identity = _identity(row)
            is_tile = _is_plain_tile(row, recipe.tile_spec)
        except InputError as error:
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
    """Row ids of the tiles in a unit's file, one for each tile; None where there is no file, or only a damaged one."""
    if not unit.path.exists():
        return None
    try:
        store = GraphStore([unit.path], windows=False)
    except InputError:
        return None
    return [store.tile_info(index).row_id for index in range(len(store))]


def build_unit(unit: GraphUnit) -> UnitOutcome:
    """Build a unit's file, whole or not at all.

    An image that cannot be used is left out and named. A file that stands already is kept if all that it lacks still
    cannot be used, and built anew if it is damaged, or if an image that it lacks has become readable.

    Raises:
        InputError: the disk is full.
        Exception: any other defect.
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
    try:
        write_unit(unit.folder, unit.name, _unit_tiles(unit, skipped, counted), unit.settings)
    except _NoUnitError:
        return UnitOutcome(0, skipped)
    return UnitOutcome(len(counted), skipped)


def image_tiles(row: ManifestRow, recipe: GraphRecipe) -> Iterator[TileGraph]:
    """The tiles of one image with their graphs, read a few at a time.

    Raises:
        InputError: the image is unreadable, has no mpp or no tissue.
    """
    spec = recipe.tile_spec
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        locations = thin(row_locations(slide, row, spec), recipe.max_tiles, recipe.seed, row.id)
        mpp = None if slide.mpp is None else spec.mpp
        for start in range(0, len(locations), TILES_AT_ONCE):
            part = locations[start : start + TILES_AT_ONCE]
            for (x, y), pixels in zip(part.tolist(), slide.read_regions(part, spec.size_px, spec.mpp), strict=True):
                raise_if_stopped()
                image = pixels.transpose(2, 0, 1)
                if recipe.stain is not None:
                    image = recipe.stain(image)
                graph = build_entity_graph(image, recipe.superpixels(image), windows=False, keep_label_map=True)
                yield TileGraph(graph, row.id, (x, y), mpp, image.transpose(1, 2, 0))


def thin(locations: np.ndarray, max_tiles: int | None, seed: int, row_id: str) -> np.ndarray:
    """At most `max_tiles` of the locations, in their order: one drawn from each of as many runs of equal length.

    Args:
        locations: (N, 2).
        max_tiles: how many; None for all.
        seed: of the draw.
        row_id: of the image, so that slides of one size do not all give the same places.
    """
    if max_tiles is None or len(locations) <= max_tiles:
        return locations
    generator = np.random.default_rng([seed, zlib.crc32(row_id.encode())])
    edges = np.arange(max_tiles + 1) * len(locations) // max_tiles
    return locations[generator.integers(edges[:-1], edges[1:])]


def reason_of(error: InputError, row: ManifestRow) -> str:
    """The line of an error without the path of the image, which is named beside it."""
    return " ".join(str(error).removeprefix(f"{row.image}: ").split())


def _unit_tiles(unit: GraphUnit, skipped: dict[str, str], counted: list[str]) -> Iterator[TileGraph]:
    """The tiles of all images of a unit; notes in `skipped` what cannot be used, in `counted` the row id of each."""
    for row in unit.rows:
        before = len(counted)
        try:
            # Only what the image does is caught here: a full disk shows in the writer, which is not below us.
            for tile in image_tiles(row, unit.recipe):
                counted.append(row.id)
                yield tile
        except InputError as error:
            skipped[row.id] = reason_of(error, row)
            if len(counted) > before:  # a slide damaged half-way: no part of it may pass for the whole
                raise _NoUnitError from error
    if not counted:
        raise _NoUnitError


def _still_unusable(unit: GraphUnit, stored: set[str]) -> dict[str, str]:
    """Row id -> why, of the images that are not in the unit's file and cannot be used now either."""
    reasons = {}
    for row in unit.rows:
        if row.id not in stored:
            try:
                with closing(image_tiles(row, unit.recipe)) as tiles:
                    next(tiles)
            except InputError as error:
                reasons[row.id] = reason_of(error, row)
    return reasons


def _identity(row: ManifestRow) -> dict[str, Any]:
    """What tells an image from another one in its place, without reading it."""
    try:
        with row.image.open("rb") as file:
            stat = os.fstat(file.fileno())
    except OSError as error:
        raise InputError(f"{row.image}: cannot be opened ({error.strerror}); check the path and access") from error
    identity = {"id": row.id, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "mpp": row.mpp}
    for name, path in (("coords", row.coords), ("regions", row.regions)):
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
    """Stands for the images of a unit; a list of thousands is more than an HDF5 attribute takes."""
    return hashlib.sha256(json.dumps(identities, sort_keys=True).encode()).hexdigest()


def _is_plain_tile(row: ManifestRow, spec: TileSpec) -> bool:
    tags = read_slide_tags(row.image)
    if not tags.plain or not tags.level_sizes_px:  # a slide, or no TIFF at all
        return tags.plain
    mpp = row.mpp or tags.mpp or spec.mpp
    return max(tags.level_sizes_px[0]) * mpp / spec.mpp <= SINGLE_TILE * spec.size_px
