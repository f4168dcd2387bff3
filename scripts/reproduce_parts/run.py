"""From a list of methods to their scores: train, embed, probe, compare. Every part is kept, so that a run resumes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts.representation import write_json
from reproduce_parts.cohorts import Cohort, write_manifest
from reproduce_parts.features import (
    CLEAN,
    PERTURBATIONS,
    ScoredTiles,
    encoder_function,
    floor_function,
    kept_features,
)
from reproduce_parts.methods import (
    METHODS,
    chosen_methods,
    clock_of,
    overrides_of,
    parsed_config,
    settings_for,
    train,
)
from reproduce_parts.scoring import (
    METRICS,
    GroupScores,
    label_efficiency,
    paired,
    predictions,
    resampled_groups,
    summarise,
)
from reproduce_parts.table import PLAIN, markdown

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        methods: names. seeds: of training and of folds.
        stains: "plain" and methods of stain normalisation.
        settings: NAME=VALUE for the bundle, the budget among them.
        budget: the same in words. command: that makes the table.
        robustness: whether tiles are spoilt, too.
    """

    methods: Sequence[str]
    seeds: Sequence[int]
    stains: Sequence[str]
    settings: Sequence[str]
    budget: str
    command: str
    robustness: bool = True


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
    manifest, stores = write_manifest(cohort, output / "manifest.csv"), output / "stores"
    with parts("tiles"):
        tiles = ScoredTiles(_data(manifest, output, stores, plan, PLAIN), cohort)
    if not len(tiles):
        raise InputError(f"{manifest}: none of the tiles has a label; there is nothing to score")
    weights = resampled_groups(len(np.unique(tiles.groups)))
    stains = {}
    for stain in plan.stains:
        rows: dict[str, Any] = {}
        for name in methods:
            rows[name] = _row(name, cohort, manifest, output, plan, stain, tiles, weights, parts)
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


def _row(
    name: str,
    cohort: Cohort,
    manifest: Path,
    output: Path,
    plan: Plan,
    stain: str,
    tiles: ScoredTiles,
    weights: np.ndarray,
    parts: Parts,
) -> dict[str, Any]:
    method, cache = METHODS[name], output / "features"
    settings = [*settings_for(method, plan.settings), *([] if stain == PLAIN else [f"stain_method={stain}"])]
    kinds = PERTURBATIONS if plan.robustness else ()
    scores: dict[str, list[GroupScores]] = {}
    shares: dict[str, list[float]] = {}
    cost: dict[str, list[float]] = {}
    function = key = None
    for seed in plan.seeds:
        print(f"== {method.title}, {stain}, seed {seed}", flush=True)
        if method.family != "features":
            run = output / stain / name / f"seed_{seed}"
            with parts("training"):
                model = train(method, manifest, run, output / "stores", seed, settings)
            digest, function = encoder_function(model)
            key = [name, stain, digest]
            if method.trained:
                _add_cost(cost, clock_of(method, run))
        elif function is None:
            with parts("features"):
                data = _data(manifest, output, output / "stores", plan, stain)
                function = floor_function(name, data, data.stain)
            key = [name, stain, data.fingerprint(), *sorted(settings)]
        with parts("features"):
            values = kept_features(cache, key, tiles, CLEAN, function)
            spoilt = {kind: kept_features(cache, key, tiles, kind, function) for kind in kinds}
        with parts("scoring"):
            for probe, found in predictions(values, spoilt, tiles.labels, tiles.groups, seed).items():
                scores.setdefault(probe, []).append(GroupScores(found, tiles.labels, tiles.groups, cohort.negatives))
            for share, value in label_efficiency(values, tiles.labels, tiles.groups, seed).items():
                shares.setdefault(share, []).append(value)
    return {
        "title": method.title,
        "features": int(values.shape[1]),
        "scores": {probe: summarise(scores[probe], weights) for probe in ("linear", "knn")},
        "robustness": {
            kind: {metric: [float(score()[metric][0]) for score in scores[kind]] for metric in METRICS}
            for kind in kinds
        },
        "label_efficiency": shares,
        "cost": cost,
    }


def _add_cost(cost: dict[str, list[float]], clocks: dict[str, dict[str, float]]) -> None:
    stage_1 = clocks.get("autoencoder", {}).get("cpu_s", 0.0) / 60
    training = clocks["training"]
    told = {
        "epochs": training["epochs"],
        "cpu_min": training["cpu_s"] / 60 + stage_1,
        "autoencoder_cpu_min": stage_1,
        "tiles_per_s": training["samples"] / training["training_wall_s"],
        "tiles_per_cpu_s": training["samples"] / training["training_cpu_s"],
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


def _data(manifest: Path, output: Path, stores: Path, plan: Plan, stain: str) -> Any:
    """Tiles of the manifest under a stain normalisation, as the bundle makes them."""
    settings = [s for s in plan.settings if not s.startswith(("images:", "graphs:"))]
    settings += [] if stain == PLAIN else [f"stain_method={stain}"]
    overrides = overrides_of(manifest, output / "unused", stores, plan.seeds[0], settings)
    return parsed_config(("train.json",), overrides).get_parsed_content("data")


def _without_draws(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_draws(part) for name, part in value.items() if name != "draws"}
    return value


def _machine() -> str:
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.system()} {platform.machine()} with {os.cpu_count()} CPU cores{gpu}"
