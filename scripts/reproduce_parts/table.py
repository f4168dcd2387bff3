"""The table, and what else is told of a run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

PLAIN = "plain"


def markdown(results: Mapping[str, Any]) -> str:
    """The results as a page: scores, comparison, label efficiency, robustness, cost; for each stain normalisation."""
    lines = [f"# {results['data']['name']}", "", *_about(results), ""]
    for stain, rows in results["stains"].items():
        lines += [f"## {'Tiles as they are' if stain == PLAIN else f'Stain normalised ({stain})'}", ""]
        for section in (_scores, _paired, _labels, _robustness, _cost):
            told = section(rows)
            lines += [*told, ""] if told else []
    return "\n".join(lines).rstrip() + "\n"


def _about(results: Mapping[str, Any]) -> list[str]:
    data, seconds = results["data"], results["parts_s"]
    classes = ", ".join(f"{name} {count}" for name, count in data["classes"].items())
    parts = ", ".join(f"{name} {spent / 60:.1f}" for name, spent in seconds.items())
    return [
        f"{data['tiles']} images for training, without labels; {data['scored']} labelled tiles of {data['groups']} "
        f"groups scored: {classes}. AUC: all other classes against {', '.join(data['negatives'])}.",
        "",
        f"Budget of training: {results['budget']}. Seeds {', '.join(map(str, results['seeds']))}. In all "
        f"{results['minutes']:.1f} minutes ({parts}) on {results['machine']}; what was there already took none.",
        "",
        f"Command: `{results['command']}`",
    ]


def _scores(rows: Mapping[str, Any]) -> list[str]:
    told = {"linear": "linear", "knn": "kNN", "finetune": "fine-tuned"}
    probes = [name for name in told if any(name in row["scores"] for row in rows.values())]
    head = ["method", "features"]
    head += [f"{told[probe]} {metric}" for probe in probes for metric in ("balanced accuracy", "AUC")]
    body = []
    for row in rows.values():
        cells = [row["title"], str(row["features"])]
        for probe in probes:
            scores = row["scores"].get(probe)
            cells += [_value(scores[metric]) if scores else "-" for metric in ("balanced_accuracy", "auc")]
        body.append(cells)
    return _table(head, body)


def _paired(rows: Mapping[str, Any]) -> list[str]:
    head = ["method", "against", "balanced accuracy", "draws above", "against", "AUC", "draws above"]
    body = []
    for row in rows.values():
        if "paired" not in row:
            continue
        cells = [row["title"]]
        for metric in ("balanced_accuracy", "auc"):
            told = row["paired"][metric]
            share = "-" if told["share_above"] is None else f"{100 * told['share_above']:.0f} %"
            cells += [
                rows[told["against"]]["title"],
                f"{told['difference']:+.3f}{_sd(told['seeds'])}{_between(told['interval'], '+.3f')}",
                share,
            ]
        body.append(cells)
    if not body:
        return []
    return ["Linear probe, each method less the best of the others:", "", *_table(head, body)]


def _labels(rows: Mapping[str, Any]) -> list[str]:
    shares = list(next(iter(rows.values()))["label_efficiency"])
    body = [[row["title"], *(_spread(row["label_efficiency"][share]) for share in shares)] for row in rows.values()]
    return ["Balanced accuracy by share of the labelled groups:", "", *_table(["method", *shares], body)]


def _robustness(rows: Mapping[str, Any]) -> list[str]:
    kinds = list(next(iter(rows.values()))["robustness"])
    if not kinds:
        return []
    body = []
    for row in rows.values():
        told = row["robustness"]
        body.append([row["title"], *(f"{_spread(told[kind]['balanced_accuracy'])}" for kind in kinds)])
    return ["Balanced accuracy on spoilt tiles, the probe fitted on clean ones:", "", *_table(["method", *kinds], body)]


def _cost(rows: Mapping[str, Any]) -> list[str]:
    columns = {
        "epochs": ("epochs", ".0f", 1),
        "CPU min of training": ("cpu_min", ".2f", 1),
        "of it latents": ("before_cpu_min", ".2f", 1),
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


def _value(told: Mapping[str, Any]) -> str:
    return f"{told['mean']:.3f}{_sd(told['seeds'])}{_between(told['interval'], '.3f')}"


def _between(interval: list[float] | None, form: str) -> str:
    return "" if interval is None else f" ({interval[0]:{form}} to {interval[1]:{form}})"


def _spread(values: list[float], form: str = ".3f") -> str:
    return f"{statistics.fmean(values):{form}}{_sd(values, form)}"


def _sd(values: list[float], form: str = ".3f") -> str:
    return f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
