"""From a manifest to graph stores: every slide and tile of a cohort as entity graphs on disk."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hmgdm_monai.data.manifest.manifest import Manifest, ManifestRow, read_manifest
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.graph_unit import GraphUnit, UnitOutcome, build_unit, plan_units, stored_rows
from hmgdm_monai.preparation.processes import run_all
from hmgdm_monai.preparation.tile_recipe import TileRecipe


@dataclass(frozen=True)
class CohortGraphs:
    """The graph stores of a cohort, and what became of each of its images.

    Attributes:
        paths: the unit files, in the manifest's order.
        rows: row id -> row, of all good rows of the manifest.
        done: (unit, number of tiles), one for each of `paths`. A unit is a slide, named by its row id, or the plain
            tiles of a patient, "tiles of patient P".
        skipped: (what, why), one line each: rows of the manifest with faults, then images that could not be used.
    """

    paths: list[Path]
    rows: dict[str, ManifestRow]
    done: list[tuple[str, int]]
    skipped: list[tuple[str, str]]

    def summary(self) -> str:
        """What was done, and what was left out and why, in lines for the user."""
        head = f"done {self._counts()}, skipped {len(self.skipped)}"
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([head + (":" if self.skipped or notes else ""), *listed(self.skipped), *notes])

    def _counts(self) -> str:
        slides = [n for unit, n in self.done if unit in self.rows]
        tiles = [n for unit, n in self.done if unit not in self.rows]
        parts = [f"{len(slides)} slides ({sum(slides)} tiles)"] if slides else []
        parts += [f"{sum(tiles)} plain tiles of {len(tiles)} patients"] if tiles else []
        return " and ".join(parts)

    @cached_property
    def notes(self) -> list[str]:
        """What of images that are used was not taken, one line each: tiles without a cell, odd shapes in a file."""
        return [note for unit in self.store(tiles=False).units for note in unit.notes]

    def store(self, **kwargs: Any) -> GraphStore:
        """All tiles as one sequence; arguments of :class:`~hmgdm_monai.data.stores.graph_store.GraphStore`."""
        return GraphStore(self.paths, **kwargs)

    @cached_property
    def tile_rows(self) -> list[ManifestRow]:
        """The manifest's row (patient, label, outcome) of each tile, by its index in :meth:`store`."""
        store = self.store(tiles=False)
        return [self.rows[store.tile_info(index).row_id] for index in range(len(store))]

    def indices_by_patient(self) -> dict[str, list[int]]:
        """Patient -> indices of their tiles in :meth:`store`."""
        indices: dict[str, list[int]] = {}
        for index, row in enumerate(self.tile_rows):
            indices.setdefault(row.patient, []).append(index)
        return indices


def build_graph_stores(
    manifest: Manifest | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    recipe: TileRecipe,
    num_workers: int = 0,
    progress: bool = True,
) -> CohortGraphs:
    """Build the entity graphs of all slides and tiles of a manifest, once.

    The work is cut into units, each one file: a slide, or all plain tiles (PNG, JPEG, TIFF of about one tile) of a
    patient. A file appears whole or not at all and is keyed by all that shaped it, so a run that was interrupted, even
    killed, goes on where it was; units that stand are not opened. A replaced image, another mpp in the manifest or
    another setting means another file (the old one is left in the folder).

    Images that cannot be used are left out and named in the result, and tried again by the next call.

    Args:
        manifest: the cohort, or the path of its CSV.
        folder: of the stores; made where missing.
        recipe: how tiles are chosen, and what is made of each.
        num_workers: processes, each building one unit at a time; 0 builds in this one. The result is the same.
        progress: show a bar over units on stderr.

    Returns:
        The files, and what was done and skipped, in the manifest's order.

    Raises:
        InputError: the manifest cannot be used, a setting is out of range, no image could be used (all reasons in one
            message, a line each), or the disk is full.
    """
    for name, value, least in (("max_tiles_per_slide", recipe.max_tiles, 1), ("num_workers", num_workers, 0)):
        if value is not None and value < least:
            raise InputError(f"cohort: {name} must be at least {least}, not {value}")
    if not isinstance(manifest, Manifest):
        manifest = read_manifest(manifest)
    units, reasons = plan_units(manifest.rows, Path(folder), recipe)
    outcomes = _build_all(units, num_workers, progress)

    for outcome in outcomes:
        reasons |= outcome.skipped
    skipped = list(manifest.left_out.items())
    skipped += [(_shown(row), reasons[row.id]) for row in manifest.rows if row.id in reasons]
    built = [(unit, outcome.n_tiles) for unit, outcome in zip(units, outcomes, strict=True) if outcome.n_tiles]
    if not built:
        raise InputError("\n".join([f"{manifest.path}: none of its images could be used:", *listed(skipped)]))
    return CohortGraphs(
        paths=[unit.path for unit, _ in built],
        rows={row.id: row for row in manifest.rows},
        done=[(unit.name, n_tiles) for unit, n_tiles in built],
        skipped=skipped,
    )


def _build_all(units: list[GraphUnit], num_workers: int, progress: bool) -> list[UnitOutcome]:
    """The outcome of each unit; only those whose file is missing or lacks an image are given to workers."""
    outcomes: dict[int, UnitOutcome] = {}
    for place, unit in enumerate(units):
        stored = stored_rows(unit)
        if stored is not None and {row.id for row in unit.rows} <= set(stored):
            outcomes[place] = UnitOutcome(len(stored), {})
    waiting = [place for place in range(len(units)) if place not in outcomes]
    jobs = [units[place] for place in waiting]
    with (
        tqdm(total=len(units), initial=len(outcomes), desc="entity graphs", unit="unit", disable=not progress) as bar,
        closing(run_all(build_unit, jobs, num_workers)) as results,
    ):
        for number, outcome in results:
            outcomes[waiting[number]] = outcome
            bar.update()
    return [outcomes[place] for place in range(len(units))]


def listed(skipped: list[tuple[str, str]]) -> list[str]:
    """A line for each (what, why)."""
    return [f"- {what}: {reason}" for what, reason in skipped]


def _shown(row: ManifestRow) -> str:
    """The image as the manifest names it."""
    return row.image.as_posix() if row.folder is None else Path(os.path.relpath(row.image, row.folder)).as_posix()
