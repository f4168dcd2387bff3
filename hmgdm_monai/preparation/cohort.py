"""From a manifest to graph stores: all slides and tiles of a cohort as entity graphs on disk."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hmgdm_monai.data.manifest.manifest import Manifest, ManifestRow, read_manifest
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.quality_table import QualityTable, read_quality
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.graph_unit import GraphUnit, UnitOutcome, build_unit, plan_units, stored_rows
from hmgdm_monai.preparation.processes import run_all
from hmgdm_monai.preparation.tile_recipe import TileRecipe


@dataclass(frozen=True)
class CohortGraphs:
    """The graph stores of a cohort, and the result for each image.

    Attributes:
        paths: files of the units, sorted by the names of their images.
        rows: row id -> row, for all good rows of the manifest.
        done: (unit, number of tiles) for each of `paths`. A unit is a slide, named by its row id, or the plain tiles of
            a patient, named "tiles of patient P".
        skipped: (what, why), one line each: rows of the manifest with faults, then images that cannot be used.
    """

    paths: list[Path]
    rows: dict[str, ManifestRow]
    done: list[tuple[str, int]]
    skipped: list[tuple[str, str]]

    def summary(self) -> str:
        """Return what was done and what was skipped and why, as lines for the user."""
        head = f"done {self._counts()}, skipped {len(self.skipped)}"
        if self.left_out:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.left_out.items())
            head += f", left out {sum(self.left_out.values())} tiles ({reasons})"
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
        """Parts of used images that were not taken, one line each: tiles without a cell, invalid outlines in a file."""
        return [note for unit in self.store(tiles=False).units for note in unit.notes]

    @cached_property
    def quality(self) -> list[QualityTable]:
        """Quality scores and left-out tiles of each file of `paths`."""
        return [read_quality(path) for path in self.paths]

    @property
    def left_out(self) -> dict[str, int]:
        """Number of tiles that a mask or the quality check left out of the files, by reason.

        Images of which all tiles were left out have no file; they are among `skipped`.
        """
        counts: Counter[str] = Counter()
        for table in self.quality:
            counts.update(table.counts())
        return dict(counts.most_common())

    def store(self, **kwargs: Any) -> GraphStore:
        """Return all tiles as one sequence.

        Args:
            **kwargs: arguments of :class:`~hmgdm_monai.data.stores.graph_store.GraphStore`.
        """
        return GraphStore(self.paths, **kwargs)

    @cached_property
    def tile_rows(self) -> list[ManifestRow]:
        """Manifest row (patient, label, outcome) of each tile, by its index in :meth:`store`."""
        store = self.store(tiles=False)
        return [self.rows[store.tile_info(index).row_id] for index in range(len(store))]

    def indices_by_patient(self) -> dict[str, list[int]]:
        """Return the indices in :meth:`store` of each patient's tiles."""
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
    """Build the entity graphs of all slides and tiles of a manifest, each once.

    The work is split into units, and each unit is one file: a slide, or all plain tiles (PNG, JPEG, TIFF of about one
    tile) of a patient. A file is written completely or not at all. Its name depends on everything that determines its
    content. So a run that was interrupted, or even killed, resumes where it stopped, and units that exist are not
    opened. If an image is replaced, or its mpp in the manifest or a setting changes, a new file is made (the old file
    stays in the folder).

    Images that cannot be used are skipped and named in the result; the next call tries them again.

    Args:
        manifest: the cohort, or the path of its CSV.
        folder: folder of the stores; created if missing.
        recipe: how tiles are chosen and processed.
        num_workers: number of processes, each of which builds one unit at a time; 0 builds in this process. The result
            is the same.
        progress: show a progress bar over units on stderr.

    Returns:
        The files, sorted by the names of their images, and what was done and skipped.

    Raises:
        InputError: the manifest cannot be used, a setting is out of range, no image can be used (one message with one
            line per reason), or the disk is full.
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
    """Return the outcome of each unit; workers build only units whose file is missing or lacks an image."""
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
    """Return one line for each (what, why)."""
    return [f"- {what}: {reason}" for what, reason in skipped]


def _shown(row: ManifestRow) -> str:
    """Return the path of the image as the manifest states it."""
    return row.image.as_posix() if row.folder is None else Path(os.path.relpath(row.image, row.folder)).as_posix()
