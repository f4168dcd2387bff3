"""The methods of the table: how each one's encoder comes about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_parts.common import ROOT
from benchmark_parts.representation import pretrain, write_json

from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        title: as it stands in the table.
        family: "images" or "graphs", or "features" of a representation without a network.
        configs: of the bundle; those of an untrained encoder say what it is built from.
        trained: whether it is trained.
        stage: of the checkpoint that its clock is in.
        settings: NAME=VALUE, in which it differs from what its configs say.
    """

    title: str
    family: str
    configs: tuple[str, ...] = ()
    trained: bool = True
    stage: str = ""
    settings: tuple[str, ...] = ()


def _image(title: str, *overrides: str) -> Method:
    configs = ("dirl.json", *(f"baselines/{name}.json" for name in overrides))
    return Method(title, "images", configs, stage=overrides[-1] if overrides else "dirl")


def _changed(title: str, *settings: str) -> Method:
    return Method(f"H-MGDM, {title}", "graphs", ("train.json",), stage="hmgdm", settings=settings)


# H-MGDM with one thing changed. Squares: where nearness is all that counts, superpixels are the cells of their grid.
ABLATIONS: dict[str, Method] = {
    "edge_latents": _changed("with edge latents", "edge_latents=True"),
    "no_skips": _changed("no skip connections", "skip_connections=False"),
    "fixed_noise": _changed("noise intensity fixed", "noise_intensity=fixed"),
    "epsilon": _changed("target epsilon", "prediction_type=epsilon"),
    "squares": _changed("square tiles as entities", "compactness=1000000.0"),
    "mask_30": _changed("30 % hidden", "mask_ratio=0.3"),
    "mask_80": _changed("80 % hidden", "mask_ratio=0.8"),
    "timesteps_100": _changed("100 timesteps", "num_timesteps=100"),
    "one_layer": _changed("1 layer", "num_layers=1"),
    "four_layers": _changed("4 layers", "num_layers=4"),
    "no_agreement": _changed("no agreement", "agreement_weight=0"),
    "no_views": _changed("no degraded views", "degraded_views=0"),
    "one_scale": _changed("texture at one scale", "autoencoder_settings::texture_scales=[1]"),
    "no_second_filters": _changed("no second layer of filters", "autoencoder_settings::second_filters=0"),
    "no_discriminants": _changed("no discriminants of tiles", "autoencoder_settings::discriminant_dim=0"),
    "states_alone": _changed("readout of states alone", "hmgdm_settings::readout=['mean','std']"),
}

METHODS: dict[str, Method] = {
    "hmgdm": Method("H-MGDM", "graphs", ("train.json",), stage="hmgdm"),
    "graphmae": Method("GraphMAE", "graphs", ("train.json", "baselines/graphmae.json"), stage="graphmae"),
    "dirl": _image("DiRL"),
    "simclr": _image("SimCLR", "simclr"),
    "dino": _image("DINO", "dino"),
    "mae": _image("MAE", "mae"),
    "diffmae": _image("DiffMAE", "mae", "diffmae"),
    "untrained_graph": Method("untrained graph encoder", "graphs", ("train.json", "baselines/graphmae.json"), False),
    "untrained_vit": Method("untrained ViT", "images", ("dirl.json",), False),
    "colour": Method("colour + texture", "features", trained=False),
    "pca": Method("PCA-96 windows, pooled", "features", trained=False),
}
DEFAULT_METHODS = tuple(METHODS)
METHODS |= ABLATIONS


def chosen_methods(names: Sequence[str]) -> dict[str, Method]:
    """The methods of these names.

    Raises:
        InputError: there is no such method.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise InputError(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    return {name: METHODS[name] for name in names}


def settings_for(method: Method, settings: Sequence[str]) -> list[str]:
    """Its own, and those of NAME=VALUE, images:NAME=VALUE and graphs:NAME=VALUE that are for it, without prefix."""
    found = []
    for setting in settings:
        family, sign, rest = setting.partition(":")
        prefixed = bool(sign) and family in ("images", "graphs")
        if not prefixed:
            found.append(setting)
        elif family == method.family:
            found.append(rest)
    return [*found, *method.settings]


def train(method: Method, manifest: Path, run: Path, stores: Path, seed: int, settings: Sequence[str]) -> Path:
    """Train, or resume, or build without training; returns the model file.

    Args:
        method: with a network.
        manifest: of the tiles, without labels.
        run: folder of the run. stores: of tiles and graphs, shared by all runs.
        seed: of the run.
        settings: NAME=VALUE.
    """
    model, done = run / "model.pt", run / "done.json"
    told = {"settings": sorted(settings), "configs": list(method.configs), "manifest": manifest.read_text()}
    if model.exists() and done.exists() and json.loads(done.read_text()) == told:
        return model
    if method.trained:
        clocks = ["baselines/clock.json", *(["baselines/clock_graphs.json"] if method.family == "graphs" else [])]
        own = own_latents(run, stores) if method.family == "graphs" else stores
        pretrain(manifest, run, own, seed, settings, *method.configs, *clocks)
    else:
        run.mkdir(parents=True, exist_ok=True)
        _save_untrained(method, manifest, run, stores, seed, settings)
    write_json(done, told)
    return model


def clock_of(method: Method, run: Path) -> dict[str, float]:
    """What the clock of a trained method's last stage counted."""
    from hmgdm_monai.data.checkpoint_file import read_checkpoint

    return read_checkpoint(run / f"checkpoints/{method.stage}.pt")["state"]["clock"]


def parsed_config(configs: Sequence[str], overrides: Mapping[str, Any]) -> Any:
    """A bundle's config with overrides, whose parts can be asked for: ``parsed_config(...).get_parsed_content(id)``."""
    from monai.bundle import ConfigWorkflow

    return ConfigWorkflow(
        workflow_type="train",
        config_file=[str(ROOT / "bundle/configs" / name) for name in configs],
        meta_file=str(ROOT / "bundle/configs/metadata.json"),
        logging_file=False,
        **overrides,
    ).parser


def overrides_of(manifest: Path, run: Path, stores: Path, seed: int, settings: Sequence[str]) -> dict[str, Any]:
    """What :func:`train` gives on the command line, as values for :func:`parsed_config`."""
    import ast

    given: dict[str, Any] = {"manifest": manifest, "output_dir": run, "dataset_dir": stores}
    overrides: dict[str, Any] = {name: str(path.resolve()) for name, path in given.items()} | {"seed": seed}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            overrides[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):  # a plain word
            overrides[name] = value
    return overrides


def own_latents(run: Path, stores: Path) -> Path:
    """A folder of stores for this run, whose graphs are the shared ones: so each run pays for its latents itself."""
    own, graphs = run / "stores", stores / "graphs"
    for folder in (own, graphs):
        folder.mkdir(parents=True, exist_ok=True)
    if not (own / "graphs").exists():
        (own / "graphs").symlink_to(graphs.resolve())
    return own


def _save_untrained(
    method: Method, manifest: Path, run: Path, stores: Path, seed: int, settings: Sequence[str]
) -> None:
    import torch

    from hmgdm_monai.data.entity_graph import entity_latents
    from hmgdm_monai.networks.pretrained import build_tile_encoder, save_pretrained

    parser = parsed_config(method.configs, overrides_of(manifest, run, stores, seed, settings))
    run_settings = parser.get_parsed_content("settings")
    if method.family == "images":
        torch.manual_seed(seed)
        own = {"vit": parser.get_parsed_content("vit_settings"), "readout": parser.get_parsed_content("readout")}
        save_pretrained(run / "model.pt", build_tile_encoder("vit", own, run_settings))
        return
    own = {name: parser.get_parsed_content(f"{name}_settings") for name in ("autoencoder", "trunk")}
    data = parser.get_parsed_content("data")
    data.prepare()
    torch.manual_seed(seed)
    encoder = build_tile_encoder("hmgdm", own, run_settings)
    # What has a closed form is no training: filters, components, and the scale of the latents.
    encoder.autoencoder.fit(*data.sample_windows(8192))
    encoder.eval()
    graphs = data.window_graphs("training")
    with torch.inference_mode():
        some = [encoder.prepare(graphs[i]) for i in range(0, len(graphs), max(1, len(graphs) // 128))]
        values = torch.cat([entity_latents(graph) for graph in some])
    encoder.hmgdm.standardizer.fit(values.clone())
    save_pretrained(run / "model.pt", encoder)
