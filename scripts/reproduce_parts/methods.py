"""The methods of the table and their settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark_parts.common import ROOT
from common.setting_values import setting_values

from hmgdm_monai.errors import InputError

CONFIGS = ROOT / "bundle/configs"
STATES = ("mean", "std")  # a readout without latents
WINDOW_PX = 64  # side of the windows if a backbone sees entities one by one


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        title: name in the table.
        family: "images" or "graphs" for networks of the bundle. For methods without training: "tile" and "entities",
            the maps of a frozen backbone, pooled over the tile or over entities, and "color".
        configs: configs of the bundle; for an untrained encoder, the configs that define it.
        trained: whether the method is trained.
        stage: name of the checkpoint that contains its clock.
        settings: NAME=VALUE, differences from the configs.
        run: name of the method whose run it uses for embedding, if not its own.
        states: embed by mean and deviation of the states only, without latents.
    """

    title: str
    family: str
    configs: tuple[str, ...] = ()
    trained: bool = True
    stage: str = ""
    settings: tuple[str, ...] = ()
    run: str = ""
    states: bool = False

    @property
    def uses_entities(self) -> bool:
        """Return whether settings of graphs and entities apply to this method."""
        return self.family in ("graphs", "entities", "tile")

    @property
    def finetunes(self) -> bool:
        """Return whether it has its own graph encoder that can be fine-tuned with labels."""
        return self.family == "graphs" and not self.run


DIRL = ("train.json", "dirl.json")


def _image(title: str, *overrides: str) -> Method:
    configs = (*DIRL, *(f"baselines/{name}.json" for name in overrides))
    return Method(title, "images", configs, stage=overrides[-1] if overrides else "dirl")


def _frozen(title: str, family: str, *settings: str) -> Method:
    return Method(title, family, ("train.json",), trained=False, settings=settings)


def _changed(title: str, *settings: str) -> Method:
    return Method(f"H-MGDM, {title}", "graphs", ("train.json",), stage="hmgdm", settings=settings)


def both_backbones() -> dict[str, Any]:
    """Return settings of train.json that add SegResNet to the configured backbone."""
    return {"backbone": [*_backbones(_train()), "segresnet_he"]}


def window_view() -> dict[str, Any]:
    """Return settings of train.json with which backbones see windows, enlarged by the same factor as tiles."""
    config = _train()
    share = WINDOW_PX / config["tile_size_px"]

    def seen(backbone: Any) -> Any:
        size = None if isinstance(backbone, str) else backbone.get("resize_px")
        return backbone if size is None else {**backbone, "resize_px": round(share * size)}

    return {
        "backbone": [seen(one) for one in _backbones(config)],
        "backbone_entities::view": "window",
        "backbone_entities::window_px": WINDOW_PX,
    }


def _backbones(config: Mapping[str, Any]) -> list[Any]:
    configured = config["backbone"]
    return configured if isinstance(configured, list) else [configured]


def _train() -> dict[str, Any]:
    return json.loads((CONFIGS / "train.json").read_text())


def _as_settings(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


HMGDM = Method("H-MGDM", "graphs", ("train.json",), stage="hmgdm")
UNTRAINED = Method("untrained graph encoder", "graphs", ("train.json", "baselines/graphmae.json"), trained=False)
SEGRESNET = "backbone=segresnet_he"

METHODS: dict[str, Method] = {
    "hmgdm": HMGDM,
    "hmgdm_states": Method("H-MGDM, states only", "graphs", ("train.json",), stage="hmgdm", run="hmgdm", states=True),
    "graphmae": Method("GraphMAE", "graphs", ("train.json", "baselines/graphmae.json"), stage="graphmae"),
    "untrained_graph": UNTRAINED,
    "untrained_states": Method(
        "untrained, states only", "graphs", UNTRAINED.configs, trained=False, run="untrained_graph", states=True
    ),
    "backbone_tile": _frozen("backbone, tile", "tile"),
    "backbone_entities": _frozen("backbone, entities", "entities"),
    "segresnet_tile": _frozen("SegResNet H&E, tile", "tile", SEGRESNET),
    "segresnet_entities": _frozen("SegResNet H&E, entities", "entities", SEGRESNET),
    "simclr": _image("SimCLR", "simclr"),
    "dino": _image("DINO", "dino"),
    "mae": _image("MAE", "mae"),
    "dirl": _image("DiRL"),
    "dirl_backbone": Method("DiRL over the backbone", "images", (*DIRL, "dirl_backbone.json"), stage="dirl_backbone"),
    "color": Method("color + texture", "color", trained=False),
    "diffmae": _image("DiffMAE", "mae", "diffmae"),
    "untrained_vit": Method("untrained ViT", "images", DIRL, trained=False),
}
DEFAULT_METHODS = tuple(name for name in METHODS if name not in ("diffmae", "untrained_vit"))

# H-MGDM with one change each.
ABLATIONS: dict[str, Method] = {
    "no_edge_latents": _changed("no edge latents", "edge_latents=False"),
    "no_skips": _changed("no skip connections", "network_def::skip_connections=False"),
    "fixed_noise": _changed("noise intensity fixed", "noising::noise_intensity=fixed"),
    "epsilon": _changed("target epsilon", "noising::scheduler::prediction_type=epsilon"),
    "squares": _changed("squares as entities", "entity_kind=squares"),
    "mask_30": _changed("30 % hidden", "network_def::mask_ratio=0.3"),
    "mask_80": _changed("80 % hidden", "network_def::mask_ratio=0.8"),
    "timesteps_100": _changed("100 timesteps", "noising::scheduler::num_train_timesteps=100"),
    "one_layer": _changed("1 layer", "network_def::num_layers=1"),
    "four_layers": _changed("4 layers", "network_def::num_layers=4"),
    "differences": _changed("layers pass differences", "network_def::layer_differences=True"),
    "no_views": _changed("no degraded views", "degraded_views=0"),
    "window_view": _changed("backbone on windows", *_as_settings(window_view())),
    "segresnet": _changed("SegResNet H&E", SEGRESNET),
    "both_backbones": _changed("both backbones", *_as_settings(both_backbones())),
}
METHODS |= ABLATIONS
ABLATION_ROWS = ("hmgdm", "hmgdm_states", *ABLATIONS)


def chosen_methods(names: Sequence[str]) -> dict[str, Method]:
    """Return the methods with these names.

    Raises:
        InputError: a method does not exist.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise InputError(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    return {name: METHODS[name] for name in names}


def settings_for(method: Method, settings: Sequence[str]) -> list[str]:
    """Return its own settings, and those of NAME=VALUE, images:NAME=VALUE and graphs:NAME=VALUE that apply to it.

    The prefix is removed.
    """
    family = "graphs" if method.uses_entities else method.family
    found = []
    for setting in settings:
        prefix, sign, rest = setting.partition(":")
        # "images::prior" is a path in the config; "images:view_px" is a setting for one family.
        if not sign or rest.startswith(":") or prefix not in ("images", "graphs"):
            found.append(setting)
        elif prefix == family:
            found.append(rest)
    return [*found, *method.settings]


def parsed_config(configs: Sequence[str], overrides: Mapping[str, Any]) -> Any:
    """Return a bundle's config with overrides; ``parsed_config(...).get_parsed_content(id)`` returns its parts."""
    from monai.bundle import ConfigWorkflow

    return ConfigWorkflow(
        workflow_type="train",
        config_file=[str(CONFIGS / name) for name in configs],
        meta_file=str(CONFIGS / "metadata.json"),
        logging_file=False,
        **overrides,
    ).parser


def overrides_of(manifest: Path, run: Path, stores: Path, seed: int, settings: Sequence[str]) -> dict[str, Any]:
    """Return the command line settings of a training as values for :func:`parsed_config`."""
    given: dict[str, Any] = {"manifest": manifest, "output_dir": run, "dataset_dir": stores}
    overrides: dict[str, Any] = {name: str(path.resolve()) for name, path in given.items()} | {"seed": seed}
    return overrides | setting_values(settings)
