"""From a list of methods to their scores: train, embed, probe, compare. All results are stored, so a run can resume."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts.representation import write_json
from reproduce_parts.cohorts import Cohort, write_manifest
from reproduce_parts.corruption import CORRUPTIONS
from reproduce_parts.folds import grouped_folds
from reproduce_parts.methods import chosen_methods
from reproduce_parts.probes import LINEAR, PROBES
from reproduce_parts.scored_tiles import ScoredTiles
from reproduce_parts.scoring import METRICS, Resamples, paired, scores_by_fold, summarize, undefined_folds
from reproduce_parts.table import markdown
from reproduce_parts.tasks import do_all, do_work
from reproduce_parts.training import cost_of
from reproduce_parts.work import Work, scored_tiles, shared_data, shared_images

from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers.training_clock import PARTS

RANDOM = "untrained_graph"  # reference of fine-tuning
FINETUNED_METHODS = ("hmgdm", "graphmae", RANDOM)


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        methods: names of the methods.
        seeds: seeds of training.
        fold_draws: number of draws of the folds per seed.
        references: names of the methods that the others are compared with, if these are among the methods.
        stains: "plain" and methods of stain normalization.
        settings: NAME=VALUE for the bundle.
        budget_cpu_min: CPU minutes of each training; None for a number of epochs.
        budget: the budget in words.
        command: command that makes the table.
        robustness: whether corrupted tiles are also scored.
        jobs: number of parallel tasks.
        finetune: names of the methods to fine-tune with labels.
        finetune_epochs: number of epochs of fine-tuning; 0 for none.
        finetune_shares: fractions of the labeled groups for fine-tuning.
    """

    methods: Sequence[str]
    seeds: Sequence[int]
    fold_draws: int
    references: Sequence[str]
    stains: Sequence[str]
    settings: Sequence[str]
    budget_cpu_min: float | None
    budget: str
    command: str
    robustness: bool = True
    jobs: int = 1
    finetune: Sequence[str] = FINETUNED_METHODS
    finetune_epochs: int = 0
    finetune_shares: Sequence[float] = (0.1, 1.0)


class Parts:
    """Seconds of each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def reproduce(cohort: Cohort, output: Path, plan: Plan) -> dict[str, Any]:
    """Run the plan, write ``results.json`` and ``table.md``, and return the content of ``results.json``.

    Args:
        cohort: data of the table.
        output: folder of all runs; the same folder resumes.
        plan: what to run.
    """
    output, start, parts = output.resolve(), time.perf_counter(), Parts()
    methods = chosen_methods(plan.methods)
    works = _works(cohort, output, plan)
    with parts("tiles"):
        tiles = scored_tiles(works[0])
        if not len(tiles):
            raise InputError(f"{cohort.name}: no tile has a label, so there is nothing to score")
        _build_stores(works)
    with parts("training, features and probes"):
        do_all(works, plan.jobs, tiles)
    groups = len(np.unique(tiles.groups))
    resamples = Resamples.draw(groups, len(plan.seeds))
    folds = {}
    for fold_seed in dict.fromkeys(seed for work in works for seed in work.fold_seeds):
        folds[fold_seed] = [test for _, test in grouped_folds(tiles.labels, tiles.groups, fold_seed)]
    stains: dict[str, Any] = {}
    undefined = (0, 0)
    with parts("scoring"):
        for stain in plan.stains:
            rows: dict[str, Any] = {}
            for name in methods:
                of_row = [work for work in works if (work.name, work.stain) == (name, stain)]
                rows[name], undefined = _row(of_row, tiles, folds, resamples)
            _compare(rows, plan.references)
            stains[stain] = rows
    classes, counts = np.unique(tiles.labels, return_counts=True)
    results = {
        "data": {
            "name": cohort.name,
            "tiles": len(cohort.images),
            "scored": len(tiles),
            "groups": groups,
            "classes": dict(zip(classes.tolist(), counts.tolist(), strict=True)),
            "negatives": list(cohort.negatives),
        },
        "seeds": list(plan.seeds),
        "fold_draws": plan.fold_draws,
        "folds": undefined[1],
        "folds_without_auc": undefined[0],
        "references": list(plan.references),
        "budget": plan.budget,
        "settings": list(plan.settings),
        "command": plan.command,
        "machine": _machine(),
        "minutes": (time.perf_counter() - start) / 60,
        "parts_s": parts.seconds,
        "stains": _without_draws(stains),
    }
    write_json(output / "results.json", results)
    partial = output / "table.md.partial"
    partial.write_text(markdown(results))
    partial.replace(output / "table.md")
    return results


def _works(cohort: Cohort, output: Path, plan: Plan) -> list[Work]:
    """Return all works, seed by seed, so that an interrupted run is a complete table with fewer seeds."""
    manifest = write_manifest(cohort, output / "manifest.csv")
    return [
        Work(
            name,
            stain,
            seed,
            cohort,
            manifest,
            output,
            plan.settings,
            plan.budget_cpu_min,
            CORRUPTIONS if plan.robustness else (),
            plan.fold_draws,
            plan.finetune_epochs if name in plan.finetune else 0,
            plan.finetune_shares,
        )
        for seed in plan.seeds
        for stain in plan.stains
        for name in plan.methods
    ]


def _build_stores(works: Sequence[Work]) -> None:
    """Build stores of tiles and regions that several works read, so that no two of them build the same store."""
    for stain in dict.fromkeys(work.stain for work in works):
        some = [work for work in works if work.stain == stain]
        shared_data(some[0]).prepare()
        for work in [work for work in some if work.method.family == "images"][:1]:
            shared_images(work).prepare()


def _row(
    works: Sequence[Work], tiles: ScoredTiles, folds: Mapping[int, Sequence[np.ndarray]], resamples: Resamples
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Return the scores of a method, one per seed, and (number of folds without AUC, number of folds)."""
    method, negatives = works[0].method, works[0].cohort.negatives
    scores: dict[str, list[Any]] = {}
    cost: dict[str, list[float]] = {}
    for work in works:
        done = do_work(work, tiles)
        for name, draws in done.predictions.items():
            of_draws = [
                scores_by_fold(probabilities, tiles.labels, tiles.groups, negatives, folds[fold_seed])
                for probabilities, fold_seed in zip(draws, work.fold_seeds, strict=False)  # fine-tuning: only the first
            ]
            scores.setdefault(name, []).append(of_draws)
        if method.trained and not method.run:
            _add_cost(cost, cost_of(work))
    summaries = {name: summarize(found, resamples) for name, found in scores.items()}
    row = {
        "title": method.title,
        "features": done.num_features,
        "scores": {name: summaries[name] for name in PROBES},
        "robustness": {kind: summaries[kind] for kind in works[0].kinds},
        "finetuned": {name: found for name, found in summaries.items() if name not in (*PROBES, *works[0].kinds)},
        "cost": cost,
    }
    return row, undefined_folds(scores[LINEAR], resamples.groups.shape[1])


def _add_cost(cost: dict[str, list[float]], clock: Mapping[str, float]) -> None:
    values = {
        "epochs": clock["epochs"],
        "cpu_min": clock["cpu_s"] / 60 + clock["encoding_cpu_min"],
        "encoding_cpu_min": clock["encoding_cpu_min"],
        "tiles_per_s": clock["samples"] / clock["training_wall_s"],
        "tiles_per_cpu_s": clock["samples"] / clock["training_cpu_s"],
        **{f"{part}_share": clock[f"{part}_cpu_s"] / clock["training_cpu_s"] for part in PARTS},
    }
    for name, value in values.items():
        cost.setdefault(name, []).append(value)


def _compare(rows: dict[str, Any], references: Sequence[str]) -> None:
    """Add to each row the differences from the references and, fine-tuned, from random graph weights."""
    for row in rows.values():
        row["paired"] = {
            name: _differences(row["scores"], rows[name]["scores"])
            for name in references
            if name in rows and rows[name] is not row
        }
        row["finetuned_paired"] = {}
        if RANDOM in rows and rows[RANDOM] is not row:
            row["finetuned_paired"] = _differences(row["finetuned"], rows[RANDOM]["finetuned"])


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {metric: paired(summary[metric], theirs[name][metric]) for metric in METRICS}
        for name, summary in ours.items()
    }


def _without_draws(value: Any) -> Any:
    """Return the value without bootstrap draws, and with None for NaN, which JSON cannot store."""
    if isinstance(value, dict):
        return {name: _without_draws(part) for name, part in value.items() if name != "draws"}
    if isinstance(value, list):
        return [_without_draws(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _machine() -> str:
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.system()} {platform.machine()} with {os.cpu_count()} CPU cores{gpu}"
