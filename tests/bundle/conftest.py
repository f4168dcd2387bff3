"""Trainings in miniature, through the bundle's configs."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature_runs import TINY

CONFIGS = Path(__file__).parents[2] / "bundle/configs"


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """Overrides of train.json that make it a run in miniature."""
    return dict(TINY["train.json"])


@pytest.fixture(scope="session")
def small_models(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Function kind -> folder with ``model.pt`` and ``classifier.pt`` of classes a and b, that nobody trained."""
    from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier
    from hmgdm_monai.saving.encoder_file import save_encoder

    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(f"small_{kind}")
            run = {"data": {"manifest": "/home/somebody/slides/cohort.csv"}, **tiny.run}
            encoder = tiny.encoder(kind, run)
            save_encoder(made[kind] / "model.pt", encoder)
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
    """Manifest of six slides of 128 px at 0.5 um a px, a patient each, labeled a and b."""
    import numpy as np

    folder = tmp_path_factory.mktemp("small_slides")
    lines = ["image,patient,label"]
    for number in range(6):
        write_tiff(folder / f"s{number}.tif", [np.roll(stained(128, 128), 20 * number, 1)], compression="jpeg")
        lines.append(f"s{number}.tif,p{number},{'ab'[number % 2]}")
    (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    return folder / "slides.csv"


@pytest.fixture(scope="session")
def labeled_tiles(tmp_path_factory: pytest.TempPathFactory, stained: Any) -> Path:
    """Manifest of twelve PNG tiles of 128 px of six patients, labeled a and b."""
    import numpy as np
    from skimage.io import imsave

    folder = tmp_path_factory.mktemp("labeled_tiles")
    for number in range(12):
        imsave(folder / f"{number}.png", np.roll(stained(128, 128), 9 * number, 1), check_contrast=False)
    rows = [f"{number}.png,p{number // 2},{'ab'[number // 2 % 2]}" for number in range(12)]
    (folder / "m.csv").write_text("\n".join(["image,patient,label", *rows]) + "\n")
    return folder / "m.csv"


@pytest.fixture(autouse=True, scope="session")
def _hook_restored() -> Iterator[None]:
    hook, terminated = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, terminated)


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Function folder -> None that puts an empty mlruns.db there; MLflow takes seconds to make one."""
    from mlflow import MlflowClient

    empty = tmp_path_factory.mktemp("mlflow") / "mlruns.db"
    MlflowClient(f"sqlite:///{empty}").search_experiments()

    def put(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "mlruns.db").exists():
            shutil.copy(empty, folder)

    return put


@pytest.fixture(scope="session")
def workflow(small_cohort: Path, mlflow_tables: Callable[[Path], None]) -> Callable[..., Any]:
    """Function (output_dir, configs, **overrides) -> a workflow of a training on the small cohort, ready to run."""

    def build(output_dir: Path, configs: tuple[str, ...] = ("train.json",), run_id: str = "training", **settings: Any):
        from monai.bundle import ConfigWorkflow

        torch.set_num_threads(1)
        mlflow_tables(output_dir)
        tiny = next(TINY[name] for name in reversed(configs) if name in TINY)
        built = ConfigWorkflow(
            workflow_type="train",
            config_file=[str(CONFIGS / name) for name in configs],
            meta_file=str(CONFIGS / "metadata.json"),
            logging_file=False,
            run_id=run_id,
            **{"manifest": str(small_cohort), "output_dir": str(output_dir), **tiny, **settings},
        )
        built.initialize()
        return built

    return build


class Outcome:
    """What a run left: ``metrics`` and all weights of ``model.pt``, or of another file."""

    def __init__(self, folder: Path, name: str = "model.pt") -> None:
        from hmgdm_monai.data.files.checkpoint_file import read_checkpoint

        self.folder = folder
        self.metrics = json.loads((folder / "metrics.json").read_text())
        saved = read_checkpoint(folder / name)
        self.weights = {name: value for name, value in saved.items() if not name.endswith("_extra_state")}

    def same_weights(self, other: Outcome) -> bool:
        return self.weights.keys() == other.weights.keys() and all(
            torch.equal(value, other.weights[name]) for name, value in self.weights.items()
        )


@pytest.fixture(scope="session")
def outcome() -> type[Outcome]:
    return Outcome


@pytest.fixture(scope="session")
def whole_run(workflow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run of train.json in miniature, from start to end in one go."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    workflow(folder).run()
    return Outcome(folder)


@pytest.fixture(scope="session")
def entities_run(workflow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same of train_entities.json."""
    folder = tmp_path_factory.mktemp("entities") / "run"
    workflow(folder, ("train.json", "train_entities.json")).run()
    return Outcome(folder, "entities.pt")


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
