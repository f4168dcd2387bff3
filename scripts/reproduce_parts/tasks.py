"""The long part of the table: encode, train, embed, probe and fine-tune, in parallel tasks. All results are stored."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmark_parts.common import one_thread
from common.kept import kept
from reproduce_parts.corruption import CLEAN
from reproduce_parts.entity_latents import prepare_entities, scored_latents
from reproduce_parts.features import features_of
from reproduce_parts.finetuning import finetune_predictions
from reproduce_parts.probes import probe_predictions
from reproduce_parts.scored_tiles import ScoredTiles
from reproduce_parts.training import train
from reproduce_parts.work import Work, scored_tiles

FINETUNED = "fine-tuned, {:g} %"


@dataclass(frozen=True)
class Done:
    """The results of a work.

    Attributes:
        predictions: by probe, out-of-fold class probabilities (N, K) of each draw of the folds.
        num_features: size of an embedding.
    """

    predictions: dict[str, list[np.ndarray]]
    num_features: int


def do_work(work: Work, tiles: ScoredTiles) -> Done:
    """Train or resume, embed, probe and fine-tune; stored results are read."""
    model = train(work) if work.method.family in ("images", "graphs") else None
    key, features = features_of(work, tiles, model)
    identity = [*key, *work.kinds, *tiles.labels, *tiles.groups]
    folder = work.output / "predictions"
    found: dict[str, list[np.ndarray]] = {}
    for fold_seed in work.fold_seeds:
        predicted = kept(
            folder,
            [*identity, "probes", str(fold_seed)],
            lambda fold_seed=fold_seed: probe_predictions(features, tiles.labels, tiles.groups, fold_seed),
        )
        for name, values in predicted.items():
            found.setdefault(name, []).append(values)
    for share in work.finetune_shares if work.finetune_epochs and work.method.finetunes else ():
        name = FINETUNED.format(100 * share)
        predicted = kept(
            folder,
            [*identity, name, str(work.finetune_epochs), str(work.fold_seeds[0])],
            lambda share=share: {"probabilities": _finetuned(work, tiles, share)},
        )
        found[name] = [predicted["probabilities"]]
    return Done(found, features[CLEAN].shape[1])


def do_all(works: Sequence[Work], jobs: int, tiles: ScoredTiles) -> None:
    """Do all works, ``jobs`` tasks in parallel, each on one thread; parallel tasks have their own processes.

    Latents are encoded first. Works that use the same run or the same latents form one task, so that no two tasks
    compute the same files.

    Raises:
        InputError: the error of the first task that fails; running tasks are then stopped, and the rest is not started.
    """
    on_entities = [work for work in works if work.method.uses_entities]
    _run(_prepare, _grouped(on_entities, lambda work: work.entity_settings), jobs, tiles)
    _run(_do, _grouped(works, lambda work: work.folder), jobs, tiles)


def _finetuned(work: Work, tiles: ScoredTiles, share: float) -> np.ndarray:
    from hmgdm_monai.saving.encoder_file import load_encoder

    encoder: Any = load_encoder(work.folder / "model.pt")
    latents = scored_latents(encoder.entities, encoder.run_settings, tiles, CLEAN, work.stores)
    graphs = [latents[i] for i in range(len(latents))]
    return finetune_predictions(
        encoder, graphs, tiles.labels, tiles.groups, work.fold_seeds[0], share, work.finetune_epochs
    )


def _prepare(works: Sequence[Work], tiles: ScoredTiles) -> None:
    done = set()
    for work in works:
        identity = (work.method.family, tuple(work.own_settings))
        if identity not in done:
            prepare_entities(work, tiles)
            done.add(identity)


def _do(works: Sequence[Work], tiles: ScoredTiles) -> None:
    for work in works:
        do_work(work, tiles)


def _grouped(works: Sequence[Work], key: Callable[[Work], Any]) -> list[list[Work]]:
    groups: dict[Any, list[Work]] = {}
    for work in works:
        groups.setdefault(key(work), []).append(work)
    return list(groups.values())


def _run(do: Callable[..., None], tasks: Sequence[Sequence[Work]], jobs: int, tiles: ScoredTiles) -> None:
    if jobs == 1:
        with one_thread():
            for works in tasks:
                do(works, tiles)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        for done in as_completed([pool.submit(_in_a_worker, do, works) for works in tasks]):
            done.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():  # so that they end the trainings they wait for
            os.kill(child.pid, signal.SIGINT)
        raise
    finally:
        pool.shutdown()


def _in_a_worker(do: Callable[..., None], works: Sequence[Work]) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with one_thread():
        do(works, scored_tiles(works[0]))
