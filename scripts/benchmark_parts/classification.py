"""Classify real prostate tiles with a given model: linear probe, nearest neighbors, fine-tuning.

This prints a markdown table. Folds are grouped by biopsy. Completed folds are not run again, so the same command
resumes an interrupted run.

    python scripts/benchmark_parts/classification.py --model runs/pretraining/model.pt --output runs/benchmark/prostate
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BENIGN = "0_stroma_benign"
COLUMNS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "cancer_auc": "AUC, cancer against benign",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
}


def write_manifest(data: Path, path: Path) -> Path:
    """Write the labeled prostate tiles as a manifest: image, patient (the biopsy), label."""
    from hmgdm_monai.data.files.csv_text import csv_text

    folder = data / "prostate_gleason" / "labelled"
    with (folder / "manifest.csv").open(newline="") as stream:
        rows = [(folder / row["file"], row["group"], row["class"]) for row in csv.DictReader(stream)]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = [(image.resolve(), patient, label) for image, patient, label in rows]
    path.write_text(csv_text([("image", "patient", "label"), *table]))
    return path


def run_mode(
    model: Path,
    manifest: Path,
    output: Path,
    mode: str,
    seed: int,
    device: str,
    n_folds: int,
    max_epochs: int,
    choose_by: str,
) -> dict[str, Any]:
    """Run one cross-validation; return its ``metrics.json`` with ``cancer_auc``, computed from ``predictions.csv``."""
    from common.fold_trainings import finetuning

    from hmgdm_monai.tasks.run_folder import RunFolder
    from hmgdm_monai.tasks.tiles.cross_validation import CrossValidation
    from hmgdm_monai.tasks.tiles.data import ClassificationData, PretrainedFile
    from hmgdm_monai.tasks.tiles.methods import LinearProbe, NearestNeighbors

    folder = output / f"{mode}_seed_{seed}"
    data = ClassificationData(manifest, output / "stores", PretrainedFile(model), device=device)
    methods = {
        "linear": LinearProbe(),
        "knn": NearestNeighbors(),
        "finetune": finetuning(
            data, folder, max_epochs=max_epochs, choose_by=choose_by, seed=seed, device=device, amp=device != "cpu"
        ),
    }
    settings = {"model": str(model), "mode": mode, "seed": seed, "n_folds": n_folds, "max_epochs": max_epochs}
    settings |= {"choose_by": choose_by} if mode == "finetune" else {}
    CrossValidation(data, methods, mode, RunFolder(folder, settings), n_folds, seed=seed).run()
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["overall"]["cancer_auc"] = cancer_auc(folder / "predictions.csv")
    return metrics


def cancer_auc(predictions: Path) -> float:
    """AUC of "any Gleason pattern" against benign: mean over the folds that hold both.

    The folds are not pooled: probabilities of different models have no common scale.
    """
    from sklearn.metrics import roc_auc_score

    with predictions.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    areas = []
    for fold in sorted({row["fold"] for row in rows}):
        mine = [row for row in rows if row["fold"] == fold]
        cancer = [row["label"] != BENIGN for row in mine]
        if len(set(cancer)) == 2:
            areas.append(roc_auc_score(cancer, [1.0 - float(row[f"probability_{BENIGN}"]) for row in mine]))
    if not areas:
        raise ValueError(f"{predictions}: no fold holds both {BENIGN} and another class")
    return float(np.mean(areas))


def table(results: dict[str, Sequence[dict[str, Any]]]) -> str:
    """Mean and range of the scores over fold seeds.

    Each tile is predicted by the model of its fold. AUCs are means over folds; the other scores count all tiles.
    """
    lines = [f"| mode | {' | '.join(COLUMNS.values())} |", "|---|" + "---|" * len(COLUMNS)]
    for mode, runs in results.items():
        cells = []
        for name in COLUMNS:
            values = [_score(run, name) for run in runs]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        lines.append(f"| {mode} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _score(run: dict[str, Any], name: str) -> float:
    """A score of one run: of all tiles, or, for the macro AUC, the mean over folds."""
    return run["over_folds"][name]["mean"] if name == "macro_auc" else run["overall"][name]


def main() -> None:
    """Run the modes and print the table."""
    import torch

    from hmgdm_monai.errors import InputError, one_line_errors
    from hmgdm_monai.saving.classifier_file import MODES

    default = os.environ.get("HMGDM_REAL_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model.pt of train.json")
    parser.add_argument("--output", type=Path, required=True, help="folder for stores, runs and the table")
    parser.add_argument("--data", type=Path, default=Path(default), help="folder of real data")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of folds and training")
    parser.add_argument("--n_folds", type=int, default=5)
    parser.add_argument("--max_epochs", type=int, default=40, help="epochs of fine-tuning")
    parser.add_argument("--choose_by", default="balanced_accuracy", help="metric that chooses the epoch, or loss")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    one_line_errors()
    torch.set_num_threads(1)  # graphs are small: several threads would wait for each other
    logging.basicConfig(level=logging.WARNING)
    if not (given.data / "prostate_gleason").is_dir():
        raise InputError(
            f"{given.data}: has no folder prostate_gleason; set HMGDM_REAL_DATA to the folder of real data"
        )

    manifest = write_manifest(given.data, given.output / "prostate.csv")
    results: dict[str, list[dict[str, Any]]] = {}
    for mode in given.modes:
        for seed in given.seeds:
            start = time.perf_counter()
            run = run_mode(
                given.model,
                manifest,
                given.output,
                mode,
                seed,
                given.device,
                given.n_folds,
                given.max_epochs,
                given.choose_by,
            )
            results.setdefault(mode, []).append(run)
            score, seconds = run["overall"]["balanced_accuracy"], time.perf_counter() - start
            print(f"{mode}, seed {seed}: balanced accuracy {score:.3f}, {seconds:.0f} s", flush=True)
    some = results[given.modes[0]][0]
    seeds = ", ".join(map(str, given.seeds))
    print(
        f"\n{some['overall']['tiles']} tiles, {len(some['folds'])} folds by biopsy, seeds {seeds}; mean (range over "
        f"seeds); balanced accuracy of chance {some['chance_balanced_accuracy']:.3f}\n\n{table(results)}"
    )


if __name__ == "__main__":
    main()
