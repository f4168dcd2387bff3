"""Pretraining in miniature, through the bundle's config."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

CONFIGS = Path(__file__).parents[2] / "bundle/configs"

TINY = {
    "autoencoder_epochs": 2,
    "max_epochs": 3,
    "probe_interval": 2,
    "tile_size_px": 128,
    "max_tiles_per_slide": 6,
    "n_segments": 16,
    "hidden_dim": 16,
    "num_layers": 2,
    "batch_size": 4,
    "windows_per_tile": 8,
    "bottleneck_kl_weight": 0.1,
    "device": "cpu",
    "autoencoder_settings::widths": [8, 8],
    "autoencoder_settings::form_channels": 1,
    "autoencoder_settings::texture_dim": 4,
    "autoencoder_settings::num_filters": 8,
    "autoencoder_settings::second_filters": 8,
    "autoencoder_settings::discriminant_dim": 4,
}


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """Overrides of train.json that make it a run in miniature."""
    return dict(TINY)


# What the Zoo's checks need of a model, and no more.
SMALL = {
    "hmgdm": {
        "autoencoder": {"window_px": 16, "widths": [8, 8], "form_channels": 1, "texture_dim": 4, "num_filters": 8},
        "hmgdm": {"latent_dim": 8, "hidden_dim": 16, "num_layers": 2, "heads": 2},
    },
    "vit": {"vit": {"image_px": 64, "patch_px": 16, "hidden_dim": 16, "num_layers": 2, "heads": 2}, "readout": "mean"},
}
SMALL_RUN = {
    "data": {
        "manifest": "/home/somebody/slides/cohort.csv",
        "tile_size_px": 64,
        "tile_mpp": 0.5,
        "tile_overlap_px": 0,
        "min_tissue": 0.5,
        "stain_method": None,
        "n_segments": 12,
        "compactness": 20.0,
        "merge_threshold": None,
        "window_px": 16,
    },
    "hmgdm": {
        "num_timesteps": 100,
        "beta_start": 1e-7,
        "beta_end": 0.02,
        "prediction_type": "sample",
        "noise_intensity": "dynamic",
    },
}


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Function kind -> folder with ``model.pt`` and ``classifier.pt`` of classes a and b, that nobody trained."""
    from hmgdm_monai.networks.classifier_file import build_classifier, save_classifier
    from hmgdm_monai.networks.pretrained import build_tile_encoder, save_pretrained

    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(f"small_{kind}")
            torch.manual_seed(0)
            encoder = build_tile_encoder(kind, SMALL[kind], SMALL_RUN)
            if kind == "hmgdm":
                encoder.autoencoder.fit(torch.rand(64, 3, 16, 16))
            save_pretrained(made[kind] / "model.pt", encoder)
            network = build_classifier(encoder, "finetune", {"num_classes": 2})
            about = ("finetune", {"num_classes": 2}, ["a", "b"], ["p0"], 0)
            save_classifier(made[kind] / "classifier.pt", network, *about)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def packaging() -> Any:
    """scripts/package_bundle.py as a module."""
    folder = str(CONFIGS.parents[1] / "scripts")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import package_bundle

    return package_bundle


@pytest.fixture(scope="session")
def packaged(
    small_models: Callable[[str], Path], packaging: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Function kind -> the bundle around the small models of that kind; its zip lies beside it."""
    made: dict[str, Path] = {}

    def bundle(kind: str = "hmgdm") -> Path:
        if kind not in made:
            models = small_models(kind)
            output = tmp_path_factory.mktemp(f"dist_{kind}")
            made[kind], _ = packaging.build(models / "model.pt", models / "classifier.pt", output)
        return made[kind]

    return bundle


@pytest.fixture(scope="session")
def small_slides(tmp_path_factory: pytest.TempPathFactory, stained: Any, write_tiff: Any) -> Path:
    """Manifest of six slides of 128 px at 0.5 um a px, a patient each, labelled a and b."""
    import numpy as np

    folder = tmp_path_factory.mktemp("small_slides")
    lines = ["image,patient,label"]
    for number in range(6):
        write_tiff(folder / f"s{number}.tif", [np.roll(stained(128, 128), 20 * number, 1)], compression="jpeg")
        lines.append(f"s{number}.tif,p{number},{'ab'[number % 2]}")
    (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    return folder / "slides.csv"


@pytest.fixture(autouse=True, scope="session")
def _hook_restored() -> Iterator[None]:
    hook = sys.excepthook
    yield
    sys.excepthook = hook


@pytest.fixture(scope="session")
def workflow(small_cohort: Path) -> Callable[..., Any]:
    """Function (output_dir, configs, **overrides) -> a workflow of train.json on the small cohort, ready to run."""
    torch.set_num_threads(1)

    def build(output_dir: Path, configs: tuple[str, ...] = ("train.json",), run_id: str = "training", **settings: Any):
        from monai.bundle import ConfigWorkflow

        built = ConfigWorkflow(
            workflow_type="train",
            config_file=[str(CONFIGS / name) for name in configs],
            meta_file=str(CONFIGS / "metadata.json"),
            logging_file=False,
            run_id=run_id,
            **{"manifest": str(small_cohort), "output_dir": str(output_dir), **TINY, **settings},
        )
        built.initialize()
        return built

    return build


class Outcome:
    """What a run left: ``metrics`` and all weights of ``model.pt``."""

    def __init__(self, folder: Path) -> None:
        from hmgdm_monai.data.checkpoint_file import read_checkpoint

        self.folder = folder
        self.metrics = json.loads((folder / "metrics.json").read_text())
        saved = read_checkpoint(folder / "model.pt")
        self.weights = saved["weights"]

    def same_weights(self, other: Outcome) -> bool:
        return self.weights.keys() == other.weights.keys() and all(
            torch.equal(value, other.weights[name]) for name, value in self.weights.items()
        )


@pytest.fixture(scope="session")
def outcome() -> type[Outcome]:
    return Outcome


@pytest.fixture(scope="session")
def whole_run(workflow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run in miniature, from start to end in one go."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    workflow(folder).run()
    return Outcome(folder)


class Killed(BaseException):
    """Stands for the end of a process: nothing may catch it."""


@pytest.fixture
def killed() -> type[Killed]:
    """What ends a run that ``kill_at`` armed."""
    return Killed


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, int], None]:
    """Function (iteration class, count): from now on, its ``count``-th training step is the run's last."""

    def arm(kind: type, count: int) -> None:
        compute, left = kind.compute, [count]

        def counted(self, network, *rest):
            left[0] -= network.training
            if left[0] <= 0:
                monkeypatch.setattr(kind, "compute", compute)
                raise Killed
            return compute(self, network, *rest)

        monkeypatch.setattr(kind, "compute", counted)

    return arm
