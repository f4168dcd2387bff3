"""Encoders of the table: trained by the bundle, or built without training."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark_parts.representation import pretrain, write_json
from reproduce_parts.entity_latents import encoding_cpu_min
from reproduce_parts.work import Work

from hmgdm_monai.errors import InputError


def train(work: Work) -> Path:
    """Train, resume, or build without training; return the model file.

    Raises:
        InputError: training ended with an error, or encoding alone has used up the budget.
    """
    method, run = work.method, work.folder
    model, done = run / "model.pt", run / "done.json"
    settings = [*work.own_settings, *_budget(work)]
    identity = {"settings": sorted(settings), "configs": list(method.configs), "manifest": work.manifest.read_text()}
    if model.exists() and done.exists() and json.loads(done.read_text()) == identity:
        return model
    if method.trained:
        configs = (*method.configs, "baselines/clock.json")
        pretrain(work.manifest, run, work.stores, work.seed, settings, *configs)
    else:
        run.mkdir(parents=True, exist_ok=True)
        _save_untrained(work, model)
    write_json(done, identity)
    return model


def cost_of(work: Work) -> dict[str, float]:
    """Return the counts of a training's clock, and ``encoding_cpu_min`` of graph methods, which all runs share."""
    from hmgdm_monai.data.files.checkpoint_file import read_checkpoint

    clock = read_checkpoint(work.folder / f"checkpoints/{work.method.stage}.pt")["state"]["clock"]
    return {**clock, "encoding_cpu_min": encoding_cpu_min(work) if work.method.family == "graphs" else 0.0}


def _budget(work: Work) -> list[str]:
    if work.budget_cpu_min is None or not work.method.trained:
        return []
    left = work.budget_cpu_min
    if work.method.family == "graphs":
        left -= encoding_cpu_min(work)
    if left <= 0:
        spent = work.budget_cpu_min - left
        raise InputError(
            f"--budget-cpu-min {work.budget_cpu_min:g}: encoding the tiles of {work.name} alone took {spent:.1f}; "
            "set a larger budget"
        )
    return [f"budget_cpu_min={left:.4f}"]


def _save_untrained(work: Work, model: Path) -> None:
    import torch

    from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
    from hmgdm_monai.networks.encoders.vit_tile_encoder import ViTTileEncoder
    from hmgdm_monai.saving.encoder_file import save_encoder

    config = work.config()
    run_settings = config.get_parsed_content("run_folder").settings
    if work.method.family == "images":
        torch.manual_seed(work.seed)
        vit, readout = (config.get_parsed_content(f"network_def::{name}") for name in ("vit", "readout"))
        save_encoder(model, ViTTileEncoder(vit, {"vit": vit.settings, "readout": readout}, run_settings))
        return
    data, entities = config.get_parsed_content("data"), config.get_parsed_content("entities")
    data.encode(entities)
    torch.manual_seed(work.seed)
    embedder = config.get_parsed_content("network_def").without_pretext()
    embedder.standardizer.fit(data.sample_latents())  # fitting the scale of latents is not training
    save_encoder(model, GraphTileEncoder(entities, embedder, {"graph_embedder": embedder.settings}, run_settings))
