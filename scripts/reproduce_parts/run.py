"""From a list of methods to their scores: train, embed, probe, compare. Every part is kept, so that a run resumes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts.representation import write_json
from reproduce_parts.cohorts import Cohort, write_manifest
from reproduce_parts.features import CLEAN, PERTURBATIONS, ScoredTiles
from reproduce_parts.finetuning import read_predictions
from reproduce_parts.methods import METHODS, chosen_methods, clock_of
from reproduce_parts.scoring import (
    METRICS,
    GroupScores,
    label_efficiency,
    paired,
    predictions,
    resampled_groups,
    summarise,
)
from reproduce_parts.table import markdown
from reproduce_parts.work import Work, do_all, do_work, scored_tiles, shared_data

from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers.training_clock import PARTS

PROBES = ("linear", "knn", "finetune")


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        methods: names. seeds: of training and of folds.
        stains: "plain" and methods of stain normalisation.
        settings: NAME=VALUE for the bundle, the budget among them.
        budget: the same in words. command: that makes the table.
        robustness: whether tiles are spoilt, too.
        jobs: how many trainings at a time.
        finetune: epochs of training on with labels, by method; for those that are not there, none.
    """

    methods: Sequence[str]
    seeds: Sequence[int]
    stains: Sequence[str]
    settings: Sequence[str]
    budget: str
    command: str
    robustness: bool = True
    jobs: int = 1
    finetune: Mapping[str, int] = field(default_factory=dict)


class Parts:
    """Seconds by part of the work."""

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
    """Run the plan; writes ``results.json`` and ``table.md`` and returns what the former holds.

    Args:
        cohort: the data.
        output: folder of all runs; the same one resumes.
        plan: what to run.
    """
    output, start, parts = output.resolve(), time.perf_counter(), Parts()
    methods = chosen_methods(plan.methods)
    works = _works(cohort, output, plan)
    with parts("tiles"):
        tiles = scored_tiles(works[0])
        if not len(tiles):
            raise InputError(f"{cohort.name}: none of the tiles has a label; there is nothing to score")
        _prepare(works)
    with parts("training and features"):
        do_all(works, plan.jobs, tiles)
    weights = resampled_groups(len(np.unique(tiles.groups)))
    stains = {}
    with parts("scoring"):
        for stain in plan.stains:
            rows: dict[str, Any] = {}
            for name in methods:
                of_row = [work for work in works if (work.name, work.stain) == (name, stain)]
                rows[name] = _row(of_row, plan.seeds, tiles, weights)
            _compare(rows)
            stains[stain] = rows
    classes, counts = np.unique(tiles.labels, return_counts=True)
    results = {
        "data": {
            "name": cohort.name,
            "tiles": len(cohort.images),
            "scored": len(tiles),
            "groups": len(np.unique(tiles.groups)),
            "classes": dict(zip(classes.tolist(), counts.tolist(), strict=True)),
            "negatives": list(cohort.negatives),
        },
        "seeds": list(plan.seeds),
        "budget": plan.budget,
        "settings": list(plan.settings),
        "command": plan.command,
        "machine": _machine(),
        "minutes": (time.perf_counter() - start) / 60,
        "parts_s": parts.seconds,
        "stains": {stain: {name: _without_draws(row) for name, row in rows.items()} for stain, rows in stains.items()},
    }
    write_json(output / "results.json", results)
    partial = output / "table.md.partial"
    partial.write_text(markdown(results))
    partial.replace(output / "table.md")
    return results


def _works(cohort: Cohort, output: Path, plan: Plan) -> list[Work]:
    """All there is to do, by seed first: a table of fewer seeds can be made of what an interrupted run leaves."""
    manifest, first = write_manifest(cohort, output / "manifest.csv"), plan.seeds[0]
    kinds, tuned = PERTURBATIONS if plan.robustness else (), plan.finetune
    return [
        Work(name, stain, seed, cohort, manifest, output, plan.settings, kinds, tuned.get(name, 0))
        for seed in plan.seeds
        for stain in plan.stains
        for name in plan.methods
        if METHODS[name].family != "features" or seed == first  # these have no training
    ]


def _prepare(works: Sequence[Work]) -> None:
    """Build the stores that several of the works read, so that no two build the same."""
    for stain in dict.fromkeys(work.stain for work in works):
        some = [work for work in works if work.stain == stain]
        shared_data(some[0]).prepare()
        for work in [work for work in some if METHODS[work.name].family == "images"][:1]:
            shared_data(work, "dirl.json").prepare()


def _row(works: Sequence[Work], seeds: Sequence[int], tiles: ScoredTiles, weights: np.ndarray) -> dict[str, Any]:
    """Scores of a method whose features are there: one work for each seed, or a single one for all of them."""
    method, kinds, negatives = METHODS[works[0].name], works[0].kinds, works[0].cohort.negatives
    scores: dict[str, list[GroupScores]] = {}
    shares: dict[str, list[float]] = {}
    cost: dict[str, list[float]] = {}
    for number, seed in enumerate(seeds):
        work = works[min(number, len(works) - 1)]
        spoilt = do_work(work, tiles)
        values = spoilt.pop(CLEAN)
        for probe, found in predictions(values, spoilt, tiles.labels, tiles.groups, seed).items():
            scores.setdefault(probe, []).append(GroupScores(found, tiles.labels, tiles.groups, negatives))
        for share, value in label_efficiency(values, tiles.labels, tiles.groups, seed).items():
            shares.setdefault(share, []).append(value)
        if work.finetune_epochs:
            tuned = read_predictions(work.finetune_folder / "predictions.csv", negatives)
            scores.setdefault("finetune", []).append(tuned)
        if method.trained:
            _add_cost(cost, clock_of(method, work.folder))
    return {
        "title": method.title,
        "features": int(values.shape[1]),
        "scores": {probe: summarise(scores[probe], weights) for probe in PROBES if probe in scores},
        "robustness": {
            kind: {metric: [float(score()[metric][0]) for score in scores[kind]] for metric in METRICS}
            for kind in kinds
        },
        "label_efficiency": shares,
        "cost": cost,
    }


def _add_cost(cost: dict[str, list[float]], training: dict[str, float]) -> None:
    before = training.get("before_cpu_s", 0.0) / 60
    told = {
        "epochs": training["epochs"],
        "cpu_min": training["cpu_s"] / 60 + before,
        "before_cpu_min": before,
        "tiles_per_s": training["samples"] / training["training_wall_s"],
        "tiles_per_cpu_s": training["samples"] / training["training_cpu_s"],
        **{f"{part}_share": training[f"{part}_cpu_s"] / training["training_cpu_s"] for part in PARTS},
    }
    for name, value in told.items():
        cost.setdefault(name, []).append(value)


def _compare(rows: dict[str, Any]) -> None:
    """Add to each row how it stands to the best of the others, by the linear probe."""
    if len(rows) < 2:
        return
    for name, row in rows.items():
        row["paired"] = {}
        for metric in METRICS:
            others = {other: told["scores"]["linear"][metric] for other, told in rows.items() if other != name}
            best = max(others, key=lambda other: others[other]["mean"])
            row["paired"][metric] = {"against": best, **paired(row["scores"]["linear"][metric], others[best])}


def _without_draws(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_draws(part) for name, part in value.items() if name != "draws"}
    return value


def _machine() -> str:
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.system()} {platform.machine()} with {os.cpu_count()} CPU cores{gpu}"
