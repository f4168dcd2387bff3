"""Effect of the dense task on attention and representation: DiRL with and without it, and H-MGDM for comparison.

    python scripts/benchmark.py dirl --output runs/benchmark --seeds 0 1 2 --set max_epochs=10

This trains `dirl.json` on the prostate tiles with lambda = 0 and with the default lambda, for each seed, with the same
budget. The rows of H-MGDM come from runs of the part `representation` in the same folder, if there are any. Every stage
can be resumed.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmark_parts.common import ROOT, pretraining_data, real_data_folder
from benchmark_parts.representation import (
    FOLD_SEEDS,
    ProstateTile,
    ScoreFile,
    pretrain,
    prostate_cohort,
    write_json,
    write_pretraining_manifest,
)

if TYPE_CHECKING:
    from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
    from hmgdm_monai.tasks.pretraining.image_data import ImageData

VANILLA, DENSE, GATE = "ViT, lambda = 0", "ViT, lambda = {weight:g} (DiRL)", "H-MGDM"
MEASURES = (
    ("attention_entropy", "entropy"),
    ("attention_gini", "Gini"),
    ("attention_share_60", "share for 60 %"),
    ("attention_head_cosine", "cosine of heads"),
    ("attention_on_cell", "on cells / area"),
    ("attention_on_other tissue", "on other tissue / area"),
    ("attention_on_background", "on background / area"),
)
GATE_EPOCHS, GATE_FOLDS = 6, 3
TILES_DRAWN = 5


def main(output: Path, seeds: Sequence[int], max_tiles: int | None = None, settings: Sequence[str] = ()) -> None:
    """Train, embed, score, measure, and print the table; also write `dirl.json` and a figure."""
    output = output.resolve()
    cohort = prostate_cohort(real_data_folder(), max_tiles)
    labeled = {tile.path.resolve(): tile for tile in cohort if tile.label is not None}
    manifest = write_pretraining_manifest(cohort, output / "manifest.csv")
    weight = json.loads((ROOT / "bundle/configs/dirl.json").read_text())["dense_weight"]
    dense = DENSE.format(weight=weight)
    score = ScoreFile(output / "scores.json")
    rows: dict[str, dict[int, dict[str, float]]] = {VANILLA: {}, dense: {}, GATE: {}}
    maps: dict[str, Any] = {}
    for seed in seeds:
        for name, value in ((VANILLA, 0.0), (dense, weight)):
            run = output / f"dirl_{value:g}" / f"seed_{seed}"
            train(manifest, run, output / "stores", seed, [*settings, f"dense_weight={value}"])
            rows[name][seed] = {**measured(run, output, labeled, score, maps if seed == seeds[0] else None, name)}
        run = output / f"seed_{seed}"
        if (run / "model.pt").exists():
            rows[GATE][seed] = gate_measured(run, output, labeled, score, maps if seed == seeds[0] else None)
    print(f"\n{len(cohort)} tiles for pretraining; scored and measured on {len(labeled)} of them, which have labels")
    print(table(rows))
    paired(rows[VANILLA], rows[dense])
    write_json(output / "dirl.json", {"settings": list(settings), "rows": rows})
    draw(maps, output / "dirl_attention.png")
    print(f"results: {output / 'dirl.json'}, {output / 'dirl_attention.png'}")


def train(manifest: Path, run: Path, stores: Path, seed: int, settings: Sequence[str]) -> None:
    """Run or resume dirl.json, and add its CPU time to `cpu_s.json`."""
    before = _children_s()
    pretrain(manifest, run, stores, seed, settings, "train.json", "dirl.json")
    spent = run / "cpu_s.json"
    if not spent.exists():  # a finished run that is measured again uses no training time
        write_json(spent, _children_s() - before)


def measured(
    run: Path,
    output: Path,
    labeled: Mapping[Path, ProstateTile],
    score: ScoreFile,
    maps: dict[str, Any] | None,
    name: str,
) -> dict[str, float]:
    """Measure linear probe and attention of a DiRL run on the labeled tiles; keep some maps for the figure."""
    import torch
    from torch.utils.data import Subset
    from torch_geometric.loader import DataLoader

    from hmgdm_monai.metrics.attention_metrics import AttentionMetrics
    from hmgdm_monai.networks.layers.region_pooling import token_weights
    from hmgdm_monai.saving.encoder_file import load_encoder

    encoder = load_encoder(run / "model.pt")
    data = region_data(encoder, output)
    places, tiles = labeled_places(data, labeled)
    metric = AttentionMetrics(data.prior.names)
    embeddings = []
    with torch.inference_mode():
        for batch, indices in zip(
            DataLoader(Subset(data.images, places), batch_size=32), chunks(places, 32), strict=True
        ):
            regions = torch.stack([data.regions[i] for i in indices])
            attention = encoder.attention(batch)
            embeddings.append(encoder.embed(batch))
            metric.update((attention, token_weights(regions, encoder.vit.patch_px, len(data.prior.names))))
            if maps is not None:
                side = batch.image.shape[-1] // encoder.vit.patch_px
                shares = attention.mean(1) * attention.shape[-1]
                maps.setdefault(name, {}).update(
                    {tile: share.reshape(side, side).numpy() for tile, share in zip(indices, shares, strict=True)}
                )
                maps.setdefault("images", {}).update({i: p for i, p in zip(indices, batch.image, strict=True)})
                maps["order"] = (places, tiles)
    features = torch.cat(embeddings).numpy()
    return {
        **probe(features, tiles, score),
        **metric.compute(),
        "cpu_min": json.loads((run / "cpu_s.json").read_text()) / 60,
    }


def gate_measured(
    run: Path, output: Path, labeled: Mapping[Path, ProstateTile], score: ScoreFile, maps: dict[str, Any] | None
) -> dict[str, float]:
    """Measure the linear probe of an H-MGDM run, and the attention of a gate trained with labels on its frozen encoder.

    Every tile is measured by a gate that has not seen its biopsy.
    """
    import torch
    from common.fold_trainings import finetuning

    from hmgdm_monai.metrics.attention_metrics import AttentionMetrics
    from hmgdm_monai.tasks.folds import make_folds
    from hmgdm_monai.tasks.tiles.data import ClassificationData, PretrainedFile

    pretrained = PretrainedFile(run / "model.pt")
    data = region_data(pretrained.encoder, output)
    places, tiles = labeled_places(data, labeled)
    manifest = output / "labeled.csv"
    lines = [f"{tile.path.resolve()},{tile.biopsy},{tile.label}" for tile in tiles]
    manifest.write_text("\n".join(["image,patient,label", *lines]) + "\n")
    classified = ClassificationData(manifest, output / "gate_stores", pretrained)
    classified.prepare()
    by_id = {data.tiles.cohort.tile_rows[place].id: place for place in places}
    fit = finetuning(classified, output / "gate", max_epochs=GATE_EPOCHS, encoder_learning_rate=0.0)
    metric = AttentionMetrics(data.prior.names)
    store = data.tiles.cohort.store(tiles=False)
    for fold in make_folds(classified.labels, classified.patients, GATE_FOLDS):
        network = fit.fit(classified, fold).network
        for index in fold.test.tolist():
            with torch.inference_mode():
                weights = network.attention(classified.samples[index])
            place = by_id[classified.tiles[index].info.row_id]
            superpixels = torch.from_numpy(store.superpixels(place)[0].astype(np.int64))
            areas = torch.bincount(superpixels.flatten(), minlength=len(weights))
            shares = region_shares(superpixels, data.regions[place][0].long(), len(weights), len(data.prior.names))
            metric.update((weights[None, None], shares[None], areas[None]))
            if maps is not None:
                over_area = weights / (areas / areas.sum())
                maps.setdefault("H-MGDM's gate", {})[place] = over_area[superpixels].numpy()
    order = {classified.tiles[i].info.row_id: i for i in range(len(classified.tiles))}
    embeddings = classified.embeddings[[order[data.tiles.cohort.tile_rows[place].id] for place in places]]
    return {**probe(embeddings, tiles, score), **metric.compute()}


def region_data(encoder: TileEncoder, output: Path) -> ImageData:
    """Return the tiles that an encoder was trained on, with the regions of the default prior."""
    from hmgdm_monai.tasks.pretraining.image_data import ImageData
    from hmgdm_monai.transforms.cell_prior import NucleusPrior

    return ImageData(pretraining_data(encoder.run_settings, output / "stores"), NucleusPrior())


def region_shares(superpixels: Any, regions: Any, vertices: int, names: int) -> Any:
    """Return the fraction (V, R) of each superpixel that lies in each region; pixels of value 255 are ignored."""
    import torch

    known = regions < names
    bins = superpixels[known] * names + regions[known]
    counts = torch.bincount(bins, minlength=vertices * names).view(vertices, names)
    return counts / torch.bincount(superpixels.flatten(), minlength=vertices)[:, None]


def labeled_places(data: ImageData, labeled: Mapping[Path, ProstateTile]) -> tuple[list[int], list[ProstateTile]]:
    """Return the indices of the labeled tiles in the stores, and the tiles, in the order of the manifest."""
    place_of = {row.image: place for place, row in enumerate(data.tiles.cohort.tile_rows)}
    return [place_of[path] for path in labeled], list(labeled.values())


def probe(features: np.ndarray, tiles: Sequence[ProstateTile], score: ScoreFile) -> dict[str, float]:
    """Return means over draws of the folds."""
    found = [score(features, tiles, seed) for seed in FOLD_SEEDS]
    return {name: float(np.mean([one[name] for one in found])) for name in ("balanced_accuracy", "auc")}


def table(rows: Mapping[str, Mapping[int, Mapping[str, float]]]) -> str:
    """Return means over seeds, with standard deviations if there are several seeds, as a markdown table."""
    columns = (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC"), *MEASURES, ("cpu_min", "CPU minutes"))
    lines = [
        "| encoder | seeds | " + " | ".join(title for _, title in columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name, by_seed in rows.items():
        if by_seed:
            cells = [_cell([row.get(key, np.nan) for row in by_seed.values()]) for key, _ in columns]
            lines.append(f"| {name} | {len(by_seed)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired(vanilla: Mapping[int, Mapping[str, float]], dense: Mapping[int, Mapping[str, float]]) -> None:
    """Print the differences caused by the dense task, seed by seed."""
    print("with the dense task minus without, by seed:")
    for key, title in (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC"), *MEASURES):
        print(f"  {title}: " + ", ".join(f"{dense[seed][key] - vanilla[seed][key]:+.3f}" for seed in vanilla))


def draw(maps: Mapping[str, Any], path: Path) -> None:
    """Draw the attention maps of the first seed side by side, for labeled tiles of all classes."""
    from hmgdm_monai.visualize.attention import draw_attention
    from hmgdm_monai.visualize.save import save_figure

    places, tiles = maps["order"]
    order = sorted(range(len(places)), key=lambda i: (str(tiles[i].label), places[i]))
    chosen = [places[order[(2 * n + 1) * len(order) // (2 * TILES_DRAWN)]] for n in range(TILES_DRAWN)]
    label = dict(zip(places, (str(tile.label) for tile in tiles), strict=True))
    images = [maps["images"][place].permute(1, 2, 0).numpy() for place in chosen]
    drawn = {name: [theirs[p] for p in chosen] for name, theirs in maps.items() if name not in ("images", "order")}
    note = (
        "Prostate tiles of PANDA biopsies (256 px, about 1 um a px). Mean over heads; the gate is learned with labels."
    )
    figure = draw_attention(images, drawn, "Attention", [label[place] for place in chosen], note)
    save_figure(figure, path)


def chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _cell(values: Sequence[float]) -> str:
    if np.isnan(values).all():
        return "-"
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def _children_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
