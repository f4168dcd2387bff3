"""The long part of the table: a training and its features for each method, stain and seed, several at a time."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts.common import one_thread
from reproduce_parts.cohorts import Cohort
from reproduce_parts.features import CLEAN, ScoredTiles, encoder_function, floor_function, kept_features
from reproduce_parts.finetuning import finetune
from reproduce_parts.methods import METHODS, overrides_of, parsed_config, settings_for, train
from reproduce_parts.table import PLAIN


@dataclass(frozen=True)
class Work:
    """A method under a stain and a seed, and where its files are.

    Attributes:
        name: of the method. stain: "plain" or a method of normalisation. seed: of training.
        cohort: the data. manifest: of its tiles, without labels.
        output: folder of all runs.
        settings: NAME=VALUE for the bundle.
        kinds: how tiles are spoilt, beside the clean ones.
        finetune_epochs: of training on with labels; 0 for none.
    """

    name: str
    stain: str
    seed: int
    cohort: Cohort
    manifest: Path
    output: Path
    settings: Sequence[str]
    kinds: Sequence[str]
    finetune_epochs: int = 0

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.output / self.stain / self.name / f"seed_{self.seed}"

    @property
    def finetune_folder(self) -> Path:
        """Of the run that trains on with labels: another one for another model."""
        with (self.folder / "model.pt").open("rb") as model:
            digest = hashlib.file_digest(model, "sha256").hexdigest()
        return self.folder / f"finetuning_{self.finetune_epochs}_{digest[:8]}"

    @property
    def stores(self) -> Path:
        """Of tiles, graphs and latents, shared by all runs."""
        return self.output / "stores"

    @property
    def own_settings(self) -> list[str]:
        """The settings that are for this method, its stain among them."""
        return [*settings_for(METHODS[self.name], self.settings), *self.stain_settings]

    @property
    def stain_settings(self) -> list[str]:
        """None for tiles as they are."""
        return [] if self.stain == PLAIN else [f"stain_method={self.stain}"]


def shared_data(work: Work, config: str = "train.json") -> Any:
    """Tiles of the manifest under a stain normalisation, as the bundle makes them by a config."""
    settings = [s for s in work.settings if not s.startswith(("images:", "graphs:"))] + work.stain_settings
    overrides = overrides_of(work.manifest, work.output / "unused", work.stores, 0, settings)
    return parsed_config((config,), overrides).get_parsed_content("data")


def scored_tiles(work: Work) -> ScoredTiles:
    """The labelled tiles, as they came."""
    return ScoredTiles(shared_data(replace(work, stain=PLAIN)), work.cohort)


def do_work(work: Work, tiles: ScoredTiles) -> dict[str, np.ndarray]:
    """Train, or resume, embed, and keep; what is there already is read. Features (N, D) by how the tiles were spoilt.

    Args:
        work: what to do.
        tiles: the scored ones.
    """
    method = METHODS[work.name]
    if method.family == "features":
        data = shared_data(work)
        key = [work.name, work.stain, data.fingerprint(), *sorted(work.own_settings)]
        fitted = cache(lambda: floor_function(work.name, data, data.stain))

        def embed(images: Iterator[np.ndarray]) -> np.ndarray:
            return fitted()(images)

    else:
        model = train(method, work.manifest, work.folder, work.stores, work.seed, work.own_settings)
        digest, embed = encoder_function(model)
        key = [work.name, work.stain, digest]
        if work.finetune_epochs:
            finetune(model, work.cohort, work.finetune_folder, work.stores, work.seed, work.finetune_epochs)
    folder = work.output / "features"
    return {kind: kept_features(folder, key, tiles, kind, embed) for kind in (CLEAN, *work.kinds)}


def do_all(works: Sequence[Work], jobs: int, tiles: ScoredTiles) -> None:
    """Do all of the work, ``jobs`` at a time, each on one thread; several at a time in processes of their own.

    Raises:
        InputError: that of the first work that fails; what has begun by then is ended, and the rest not begun.
    """
    if jobs == 1:
        with one_thread():
            for work in works:
                do_work(work, tiles)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        for done in as_completed([pool.submit(_in_a_worker, work) for work in works]):
            done.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():  # so that they end the trainings that they wait for
            os.kill(child.pid, signal.SIGINT)
        raise
    finally:
        pool.shutdown()


def _in_a_worker(work: Work) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with one_thread():
        do_work(work, scored_tiles(work))
