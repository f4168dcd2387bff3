"""The page with the table and the details of a run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from reproduce_parts.probes import LINEAR, LINEAR_FEW, PROBES
from reproduce_parts.scoring import METRICS
from reproduce_parts.work import PLAIN

TITLES = {"linear": "linear", LINEAR_FEW: LINEAR_FEW, "knn": "kNN"}
METRIC_TITLES = dict(zip(METRICS, ("balanced accuracy", "AUC"), strict=True))


def markdown(results: Mapping[str, Any]) -> str:
    """Return the results as a page per stain: scores, comparisons, fine-tuning, corrupted tiles, cost."""
    lines = [f"# {results['data']['name']}", "", *_about(results), ""]
    for stain, rows in results["stains"].items():
        lines += [f"## {'Tiles as they are' if stain == PLAIN else f'Stain normalized ({stain})'}", ""]
        sections = [_scores(rows), *(_paired(rows, name) for name in results["references"])]
        for section in (*sections, _finetuned(rows), _corrupted(rows), _cost(rows)):
            lines += [*section, ""] if section else []
    return "\n".join(lines).rstrip() + "\n"


def _about(results: Mapping[str, Any]) -> list[str]:
    data, seconds = results["data"], results["parts_s"]
    classes = ", ".join(f"{name} {count}" for name, count in data["classes"].items())
    parts = ", ".join(f"{name} {spent / 60:.1f}" for name, spent in seconds.items())
    missing = results["folds_without_auc"]
    return [
        f"{data['tiles']} images for training, without labels; {data['scored']} labeled tiles of {data['groups']} "
        f"groups scored: {classes}. AUC: all other classes against {', '.join(data['negatives'])}; undefined in "
        f"{missing} of {results['folds']} folds, which its mean does not include.",
        "",
        f"Budget of training: {results['budget']}. Seeds {', '.join(map(str, results['seeds']))}, "
        f"{results['fold_draws']} draws of the folds per seed. Total time {results['minutes']:.1f} minutes ({parts}) "
        f"on {results['machine']}, without results that existed before.",
        "",
        f"Command: `{results['command']}`",
    ]


def _scores(rows: Mapping[str, Any]) -> list[str]:
    head = ["method", "features"]
    head += [f"{TITLES[probe]} {title}" for probe in PROBES for title in METRIC_TITLES.values()]
    body = [
        [
            row["title"],
            str(row["features"]),
            *(_value(row["scores"][probe][metric]) for probe in PROBES for metric in METRICS),
        ]
        for row in rows.values()
    ]
    return _table(head, body)


def _paired(rows: Mapping[str, Any], reference: str) -> list[str]:
    """Return the differences of all rows from a reference."""
    differences = {name: row["paired"][reference] for name, row in rows.items() if reference in row["paired"]}
    if not differences:
        return []
    head = ["method", *(f"{TITLES[probe]} {title}" for probe in PROBES for title in METRIC_TITLES.values())]
    body = [
        [rows[name]["title"], *(_difference(by_probe[probe][metric]) for probe in PROBES for metric in METRICS)]
        for name, by_probe in differences.items()
    ]
    return [f"Each method minus {rows[reference]['title']}:", "", *_table(head, body)]


def _finetuned(rows: Mapping[str, Any]) -> list[str]:
    body = []
    for row in rows.values():
        for name, summary in row["finetuned"].items():
            differences = row["finetuned_paired"].get(name)
            cells = [row["title"], name.partition(", ")[2], *(_value(summary[metric]) for metric in METRICS)]
            body.append([*cells, *(_difference(differences[metric]) if differences else "-" for metric in METRICS)])
    if not body:
        return []
    titles = list(METRIC_TITLES.values())
    head = ["method", "labeled groups", *titles, *(f"minus random weights, {title}" for title in titles)]
    return ["Fine-tuned with gated pooling, backbone frozen:", "", *_table(head, body)]


def _corrupted(rows: Mapping[str, Any]) -> list[str]:
    kinds = list(next(iter(rows.values()))["robustness"])
    if not kinds:
        return []
    body = []
    for row in rows.values():
        cells = [row["title"]]
        for summary in (row["scores"][LINEAR], *(row["robustness"][kind] for kind in kinds)):
            cells.append(" / ".join(_form(summary[metric]["mean"]) for metric in METRICS))
        body.append(cells)
    title = "Corrupted tiles, the linear probe fitted on clean ones, balanced accuracy / AUC:"
    return [title, "", *_table(["method", "clean", *kinds], body)]


def _cost(rows: Mapping[str, Any]) -> list[str]:
    columns = {
        "epochs": ("epochs", ".0f", 1),
        "CPU min of training": ("cpu_min", ".2f", 1),
        "of it latents": ("encoding_cpu_min", ".2f", 1),
        "tiles a second": ("tiles_per_s", ".1f", 1),
        "tiles a CPU second": ("tiles_per_cpu_s", ".1f", 1),
        "data %": ("data_share", ".0f", 100),
        "forward %": ("forward_share", ".0f", 100),
        "backward %": ("backward_share", ".0f", 100),
        "update %": ("update_share", ".0f", 100),
    }
    body = [
        [row["title"], *(_spread([times * v for v in row["cost"][key]], form) for key, form, times in columns.values())]
        for row in rows.values()
        if row["cost"]
    ]
    return _table(["method", *columns], body) if body else []


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body)]


def _value(summary: Mapping[str, Any]) -> str:
    return f"{_form(summary['mean'])}{_sd(summary['seeds'])}{_between(summary['interval'], '.3f')}"


def _difference(paired: Mapping[str, Any]) -> str:
    return f"{_form(paired['difference'], '+.3f')}{_sd(paired['seeds'])}{_between(paired['interval'], '+.3f')}"


def _form(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else f"{value:{form}}"


def _between(interval: list[float] | None, form: str) -> str:
    return "" if interval is None else f" ({interval[0]:{form}} to {interval[1]:{form}})"


def _spread(values: list[float], form: str = ".3f") -> str:
    return f"{statistics.fmean(values):{form}}{_sd(values, form)}"


def _sd(values: list[float | None], form: str = ".3f") -> str:
    known = [value for value in values if value is not None]
    return f" ± {statistics.stdev(known):{form}}" if len(known) > 1 else ""
