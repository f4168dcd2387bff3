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
}


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
