"""Kill runs at random moments, go on with them, and compare what they leave with a run that nobody killed."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import multiprocessing
import os
import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmgdm_monai.data.files.whole_file import is_temporary

# A server that has imported what takes long forks a process for each run.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("torch", "monai.bundle", "monai.engines", "monai.handlers", "torch_geometric.loader", "diffusers", "mlflow"),
        *("mlflow.store.tracking.sqlalchemy_store", "onnxruntime", "cucim", "matplotlib.figure", "sklearn.manifold"),
        *("sksurv.linear_model", "lifelines", "skimage.measure", "hmgdm_monai.tasks.bundle_workflow"),
        *("hmgdm_monai.tasks.pretraining.graph_report", "hmgdm_monai.tasks.patients.report"),
        *("hmgdm_monai.tasks.tiles.cross_validation", "hmgdm_monai.tasks.inference.report"),
    ]
)
_LONGEST_S = 600
_MOST_KILLS = 6  # of one run, so that it ends
_TIMES = ("seconds", "cpu_s", "minutes", "_s")  # endings of names of values that depend on the time


@dataclass(frozen=True)
class Run:
    """A run of a config.

    Attributes:
        configs: config files.
        manifest: table of the cohort.
        settings: other settings.
    """

    configs: Sequence[str]
    manifest: Path
    settings: dict[str, Any]


@dataclass
class Kills:
    """What was done: number of kills, of those while MLflow made its database, and of runs that came to their end."""

    kills: int = 0
    in_mlflow: int = 0
    runs: int = 0


def start(run: Run, folder: Path, log: Path) -> Any:
    """Start a run in a process of its own; its output goes to a file."""
    process = _CONTEXT.Process(target=_run, args=(run, str(folder), str(log)))
    process.start()
    return process


def _imported() -> None:
    pass


def _run(run: Run, folder: str, log: str) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    import torch

    from hmgdm_monai.tasks.bundle_workflow import run_bundle

    torch.set_num_threads(1)
    run_bundle(list(run.configs), run.manifest, folder, run.settings)


def finish(process: Any, log: Path) -> None:
    """Wait for a run, which must end well."""
    process.join(_LONGEST_S)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"a run took more than {_LONGEST_S} s: {log.read_text()[-2000:]}")
    assert process.exitcode == 0, log.read_text()[-4000:]


def kill_again_and_again(run: Run, root: Path, kills: int, seed: int = 0) -> Kills:
    """Kill runs until there were so many kills; each run is resumed in its folder until it ends, and compared.

    Args:
        run: the run.
        root: folder for the output folders.
        kills: number of kills.
        seed: seed of the moments.
    """
    server = _CONTEXT.Process(target=_imported)  # makes the server import what all runs need
    server.start()
    server.join()
    begin = time.monotonic()
    finish(start(run, root / "whole", root / "whole.log"), root / "whole.log")
    took, whole = time.monotonic() - begin, fingerprint(root / "whole")
    draw, done = random.Random(seed), Kills()
    while done.kills < kills:
        folder, log = root / f"run_{done.runs}", root / f"run_{done.runs}.log"
        left, ended = min(_MOST_KILLS, kills - done.kills), False
        while left and not ended:
            process = start(run, folder, log)
            in_mlflow = draw.random() < 0.3 and not (folder / "mlruns.db").exists()
            if in_mlflow:
                in_mlflow = _wait_for_mlflow(process, folder)
                time.sleep(draw.uniform(0, 1.0))
            else:
                process.join(draw.uniform(0, 0.8 * took))  # a run that goes on takes less
            if ended := not process.is_alive():
                finish(process, log)
                break
            process.kill()
            process.join()
            left -= 1
            done.kills += 1
            done.in_mlflow += in_mlflow
            print(f"kill {done.kills}, of run {done.runs}", flush=True)
        if not ended:
            finish(start(run, folder, log), log)
        done.runs += 1
        compare(fingerprint(folder), whole)
        check_clean(folder)
    return done


def _wait_for_mlflow(process: Any, folder: Path) -> bool:
    """Wait until MLflow begins to make its database; return False if the run ends before that."""
    while process.is_alive():
        if folder.is_dir() and any("mlruns.db" in name and is_temporary(Path(name)) for name in os.listdir(folder)):
            return True
        time.sleep(0.005)
    return False


def check_clean(folder: Path) -> None:
    """Check that nothing is left of writers and locks, and that MLflow's database is whole."""
    names = [path for path in folder.rglob("*") if is_temporary(path) or path.name == "run.lock"]
    assert not names, names
    assert not list(folder.glob("mlruns.db-damaged*"))
    if (folder / "mlruns.db").exists():
        with closing(sqlite3.connect(folder / "mlruns.db")) as database:
            assert database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)


def compare(found: dict[str, str], wanted: dict[str, str]) -> None:
    """Compare two fingerprints."""
    assert sorted(found) == sorted(wanted)
    differing = [name for name, digest in wanted.items() if found[name] != digest]
    assert not differing, f"other content after kills: {differing}"


def fingerprint(folder: Path) -> dict[str, str]:
    """Return a digest of the content of each file of a run; figures and MLflow's files are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(("mlruns.db", "mlflow_artifacts", "settings.json")):
            found[name] = hashlib.sha256(repr(_content(path)).encode()).hexdigest()
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    if path.suffix == ".pt":
        from hmgdm_monai.data.files.checkpoint_file import read_checkpoint

        return _plain(read_checkpoint(path))
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return {name: _plain(file[name][()]) for name in file}
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    return "" if path.suffix == ".png" else path.read_bytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if not key.endswith(_TIMES)}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Tensors and arrays as digests, at any depth."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    with contextlib.suppress(AttributeError):
        value = value.detach().contiguous().cpu().numpy()
    raw = value.tobytes() if hasattr(value, "tobytes") and value.dtype.kind != "O" else repr(value).encode()
    return hashlib.sha256(raw).hexdigest()
