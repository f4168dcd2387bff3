"""Shared by the parts of the benchmark: folder of real data, alternating measurements on one thread, ratios."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hmgdm_monai.errors import InputError

if TYPE_CHECKING:
    from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData

ROOT = Path(__file__).resolve().parents[2]


def real_data_folder() -> Path:
    """Return the folder of real slides and tiles: HMGDM_REAL_DATA, else ../shared/data beside the project."""
    return Path(os.environ.get("HMGDM_REAL_DATA") or ROOT.parent / "shared" / "data")


def need(path: Path) -> Path:
    """Return the path.

    Raises:
        InputError: the path does not exist.
    """
    if not path.exists():
        raise InputError(f"{path}: not found; this benchmark needs real data, set HMGDM_REAL_DATA to its folder")
    return path


def prostate_tiles(data: Path, most: int) -> list[Path]:
    """Return a number of labeled prostate tiles, spread evenly over the sorted list."""
    paths = sorted(need(data / "prostate_gleason" / "labelled").glob("*/*.jp*g"))
    return paths[:: max(1, len(paths) // most)][:most]


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread within the block."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def time_in_turns(
    work: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """Return the seconds of each piece of work, (repeats,) each, after a warm-up round.

    Each round runs all pieces one after the other, so that a slow moment of the machine affects all of them. Every
    other round is reversed, so that no piece always follows the same other piece. ``clock`` returns seconds: wall time,
    or, as ``time.process_time``, the CPU time of this process.
    """
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for name in work:
        work[name]()
    for number in range(repeats):
        for name in list(work)[:: 1 if number % 2 == 0 else -1]:
            start = clock()
            work[name]()
            seconds[name].append(clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def spread(values: np.ndarray, digits: int = 2) -> str:
    """Return "median (10th to 90th percentile)" of values."""
    low, middle, high = np.percentile(values, (10, 50, 90))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def run_bundle(configs: Sequence[str], settings: Mapping[str, Any], *run_id: str) -> bool:
    """Run a config of the bundle in its own process, as on the command line; return whether it succeeded.

    Args:
        configs: files in bundle/configs; later files override earlier ones.
        settings: overrides; paths are made absolute, because the process runs in the project's root.
        run_id: id of the workflow's expression, if not the config's ``run``.
    """
    command = [sys.executable, "-m", "monai.bundle", "run", *run_id]
    command += ["--config_file", str([f"bundle/configs/{name}" for name in configs])]
    for name, value in settings.items():
        command += [f"--{name}", str(value.resolve() if isinstance(value, Path) else value)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def pretraining_data(settings: Mapping[str, Any], store_dir: Path) -> PretrainingData:
    """Return the data that a model was pretrained on, without degraded views.

    Args:
        settings: ``run_settings`` of the model.
        store_dir: folder of the run's stores.
    """
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData

    data, recipe = settings["data"], settings["recipe"]
    return PretrainingData(
        data["manifest"],
        store_dir,
        recipe_of(settings, recipe["max_tiles"], recipe["seed"]),
        val_fraction=data["val_fraction"],
        seed=data["seed"],
    )
