"""Scores of pretrained embeddings of prostate tissue, compared with no training and with plain features.

Pretraining uses tiles and biopsies, but no labels. Every stage can be resumed: the bundle's runs resume themselves;
plain features and scores are read from files in the output folder. scripts/reproduce.py has more methods and scores
them by fold.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts.common import need, pretraining_data, real_data_folder, run_bundle
from tqdm import tqdm

from hmgdm_monai.errors import InputError

FOLD_SEEDS = (0, 1, 2)
LEARNED = ("H-MGDM, pretrained", "H-MGDM, untrained", "entities, pooled")
FLOOR = "color + texture"


@dataclass(frozen=True)
class ProstateTile:
    """A tile: its file, its biopsy, and its class if it is labeled."""

    path: Path
    biopsy: str
    label: str | None = None


def prostate_cohort(data: Path, max_tiles: int | None = None) -> list[ProstateTile]:
    """Return labeled, then unlabeled tiles; at most `max_tiles` of each kind per biopsy."""
    folder = need(data / "prostate_gleason")
    with need(folder / "labelled" / "manifest.csv").open(newline="") as stream:
        labeled = [
            ProstateTile(folder / "labelled" / row["file"], row["group"], row["class"])
            for row in csv.DictReader(stream)
        ]
    unlabeled = [
        ProstateTile(path, path.stem.rsplit("_", 1)[0]) for path in sorted((folder / "unlabelled").glob("*.jp*g"))
    ]
    return [*_thin(labeled, max_tiles), *_thin(unlabeled, max_tiles)]


def write_pretraining_manifest(tiles: Sequence[ProstateTile], path: Path) -> Path:
    """Write the manifest of pretraining: image and patient (the biopsy), without labels."""
    content = "image,patient\n" + "".join(f"{tile.path.resolve()},{tile.biopsy}\n" for tile in tiles)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != content:
        path.write_text(content)
    return path


def pretrain(manifest: Path, run: Path, stores: Path, seed: int, settings: Sequence[str] = (), *configs: str) -> Path:
    """Run or resume the bundle's training in its own process; return the folder of the run.

    Args:
        manifest: manifest of the tiles.
        run: folder of the run.
        stores: folder of the stores; all runs share it, because they have the same tiles and graphs.
        seed: seed of the run.
        settings: NAME=VALUE.
        configs: configs of the bundle; later ones override earlier ones. train.json by default.

    Raises:
        InputError: a setting is not NAME=VALUE, or training ended with an error, which was printed.
    """
    given: dict[str, Any] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign:
            raise InputError(f"--set {setting}: must be NAME=VALUE, such as --set max_epochs=40")
        given[name] = value
    given |= {"manifest": manifest, "output_dir": run, "dataset_dir": stores, "seed": seed}
    if not run_bundle(configs or ("train.json",), given, "training"):
        raise InputError(f"pretraining with seed {seed} ended with an error (above); the same command resumes {run}")
    return run


def run_features(run: Path, labels: Mapping[Path, ProstateTile], seed: int) -> tuple[dict[str, np.ndarray], list]:
    """Return name -> (N, D), representations of the labeled tiles by a run's networks, and the tiles in their order.

    The untrained network is built from `seed`, and uses the same latents with the same standardization.
    """
    import torch
    from torch.utils.data import Subset
    from torch_geometric.loader import DataLoader

    from hmgdm_monai.networks.methods.build import build_hmgdm
    from hmgdm_monai.saving.encoder_file import load_encoder

    model = load_encoder(run / "model.pt")
    data = pretraining_data(model.run_settings, run.parent / "stores")
    data.encode(model.entities)
    found = [(i, labels[row.image]) for i, row in enumerate(data.cohort.tile_rows) if row.image in labels]
    graphs = Subset(data.latents(), [i for i, _ in found])
    torch.manual_seed(seed)
    untrained = build_hmgdm(**model.settings["hmgdm"]).eval()
    untrained.standardizer.load_state_dict(model.hmgdm.standardizer.state_dict())

    def embed(network: Any) -> np.ndarray:
        with torch.inference_mode():
            return torch.cat([network.embed(batch) for batch in DataLoader(graphs, batch_size=64)]).numpy()

    from benchmark_parts.baselines import pooled_latents

    latents = pooled_latents(graphs[i] for i in range(len(graphs)))
    values = (embed(model.hmgdm), embed(untrained), latents)
    return dict(zip(LEARNED, values, strict=True)), [tile for _, tile in found]


def floor_features(tiles: Sequence[ProstateTile], cache: Path) -> np.ndarray:
    """Return color and texture (N, 61) of the labeled tiles, computed once."""
    from benchmark_parts.baselines import color_texture
    from skimage.io import imread

    key = hashlib.sha256("\n".join(tile.path.name for tile in tiles).encode()).hexdigest()
    if cache.exists():
        saved = np.load(cache)
        if str(saved["key"]) == key:
            return saved["features"]
    features = [color_texture(imread(tile.path)[..., :3]) for tile in tqdm(tiles, desc="floor", unit="tile")]
    partial = cache.with_suffix(".partial.npz")
    np.savez(partial, key=key, features=np.stack(features))
    partial.replace(cache)
    return np.stack(features)


def probe_scores(features: np.ndarray, tiles: Sequence[ProstateTile], fold_seed: int) -> dict[str, float]:
    """Return balanced accuracy, and AUC of cancer against benign, of a linear probe in 5 folds grouped by biopsy."""
    import warnings

    from hmgdm_monai.metrics.linear_probe import auc_against, balanced_accuracy, probe_predictions

    labels, biopsies = [tile.label for tile in tiles], [tile.biopsy for tile in tiles]
    benign = next(label for label in sorted(set(labels)) if "benign" in label)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # a probe that has not converged is still valid
        predictions = probe_predictions(features, labels, biopsies, seed=fold_seed)
    return {
        "balanced_accuracy": balanced_accuracy(labels, predictions),
        "auc": auc_against(labels, predictions, benign),
    }


class ScoreFile:
    """Scores in a JSON file, by a key of the content that they were computed from."""

    def __init__(self, path: Path, score: Callable[..., dict[str, float]] = probe_scores) -> None:
        self.path, self.score = path, score
        self.known: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}

    def __call__(self, features: np.ndarray, tiles: Sequence[ProstateTile], fold_seed: int) -> dict[str, float]:
        """Return the scores, computed once."""
        identity = json.dumps([[tile.path.name, tile.biopsy, tile.label] for tile in tiles] + [fold_seed])
        # Rounded: threads may sum in another order.
        key = hashlib.sha256(np.round(features.astype(np.float32), 4).tobytes() + identity.encode()).hexdigest()
        if key not in self.known:
            self.known[key] = self.score(features, tiles, fold_seed)
            write_json(self.path, self.known)
        return self.known[key]


def summarize(scores: Mapping[str, Mapping[int | None, Sequence[Mapping[str, float]]]]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation over pretraining seeds and over draws of the folds, by method and metric.

    Args:
        scores: method -> pretraining seed (None without training) -> scores, one per fold seed.

    Returns:
        method -> ``<metric>``, ``<metric>_sd_seeds`` (of the means over fold seeds; NaN with a single seed) and
        ``<metric>_sd_folds`` (mean over pretraining seeds); standard deviations are those of the sample (divisor n -
        1).
    """
    result: dict[str, dict[str, float]] = {}
    for method, by_seed in scores.items():
        result[method] = {"seeds": len(by_seed)}
        for metric in ("balanced_accuracy", "auc"):
            table = np.array([[score[metric] for score in row] for row in by_seed.values()])  # (seeds, fold seeds)
            result[method][metric] = float(table.mean())
            result[method][f"{metric}_sd_seeds"] = float(table.mean(1).std(ddof=1)) if len(table) > 1 else float("nan")
            result[method][f"{metric}_sd_folds"] = float(table.std(1, ddof=1).mean())
    return result


def markdown_table(summary: Mapping[str, Mapping[str, float]], widths: Mapping[str, int]) -> str:
    """Return the summary as a markdown table; `widths` has the number of features of each method."""
    lines = [
        "| representation | features | seeds | balanced accuracy | sd seeds | sd folds | AUC | sd seeds | sd folds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in summary.items():
        cells = [name, str(widths[name]), str(int(row["seeds"]))]
        for metric in ("balanced_accuracy", "auc"):
            values = (row[metric], row[f"{metric}_sd_seeds"], row[f"{metric}_sd_folds"])
            cells += ["-" if np.isnan(value) else f"{value:.3f}" for value in values]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_json(path: Path, content: Any) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


def main(output: Path, seeds: Sequence[int], max_tiles: int | None = None, settings: Sequence[str] = ()) -> None:
    """Pretrain with every seed, embed, score, and print the table; also write `results.json`."""
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    cohort = prostate_cohort(real_data_folder(), max_tiles)
    labeled = [tile for tile in cohort if tile.label is not None]
    manifest = write_pretraining_manifest(cohort, output / "manifest.csv")
    score = ScoreFile(output / "scores.json")
    scores: dict[str, dict[int | None, list]] = {name: {} for name in (*LEARNED, FLOOR)}
    widths: dict[str, int] = {}

    def note(name: str, seed: int | None, features: np.ndarray, tiles: Sequence[ProstateTile]) -> None:
        scores[name][seed] = [score(features, tiles, fold_seed) for fold_seed in FOLD_SEEDS]
        widths[name] = features.shape[1]

    note(FLOOR, None, floor_features(labeled, output / "floor.npz"), labeled)
    by_path = {tile.path.resolve(): tile for tile in labeled}
    for seed in seeds:
        run = pretrain(manifest, output / f"seed_{seed}", output / "stores", seed, settings)
        features_of_run, tiles = run_features(run, by_path, seed)
        # The same order of tiles for all methods, because folds depend on it.
        order = {tile: place for place, tile in enumerate(tiles)}
        missing = [tile for tile in labeled if tile not in order]
        if missing:
            raise InputError(f"{len(missing)} labeled tiles are not in the stores, {missing[0].path} among them")
        places = [order[tile] for tile in labeled]
        for name, features in features_of_run.items():
            note(name, seed, features[places], labeled)
    summary = summarize(scores)
    biopsies = len({tile.biopsy for tile in labeled})
    print(f"\n{len(cohort)} tiles for pretraining, of which {len(labeled)} labeled ones of {biopsies} biopsies scored")
    print(markdown_table(summary, widths))
    write_json(
        output / "results.json",
        {
            "tiles": len(cohort),
            "labelled": len(labeled),
            "biopsies": biopsies,
            "settings": list(settings),
            "fold_seeds": list(FOLD_SEEDS),
            "summary": summary,
            "scores": {name: {str(seed): rows for seed, rows in by_seed.items()} for name, by_seed in scores.items()},
        },
    )
    print(f"results: {output / 'results.json'}")


def _thin(tiles: Sequence[ProstateTile], max_tiles: int | None) -> list[ProstateTile]:
    taken: dict[str, int] = {}
    kept = []
    for tile in tiles:
        taken[tile.biopsy] = taken.get(tile.biopsy, 0) + 1
        if max_tiles is None or taken[tile.biopsy] <= max_tiles:
            kept.append(tile)
    return kept
