"""Runs one piece of work after another, or in several processes that stop when they are told to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.synchronize import Event
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_stop: Event | None = None  # set in worker processes only


class StoppedError(Exception):
    """Work was given up because the parent process has ended the run."""


def raise_if_stopped() -> None:
    """Called now and then by long work, so that a worker ends soon after Ctrl-C, and cleans up as it goes."""
    if _stop is not None and _stop.is_set():
        raise StoppedError


def run_all(
    work: Callable[[Job], Result], jobs: Sequence[Job], num_workers: int
) -> Generator[tuple[int, Result], None, None]:
    """Do all jobs, each wholly in one process.

    Close the iterator (`contextlib.closing`) to end early: jobs that have not begun are dropped, those that have hear
    of it by :func:`raise_if_stopped`, and their processes are waited for.

    Args:
        work: picklable, as are jobs and results.
        jobs: what there is to do.
        num_workers: processes; 0 works in this one.

    Yields:
        (place among `jobs`, result), as they are finished.

    Raises:
        Exception: whatever `work` raises; the other jobs are then ended as above.
    """
    if num_workers == 0:
        yield from ((place, work(job)) for place, job in enumerate(jobs))
        return
    stop = multiprocessing.Event()
    executor = ProcessPoolExecutor(min(num_workers, max(1, len(jobs))), initializer=_begin_worker, initargs=(stop,))
    try:
        places = {executor.submit(work, job): place for place, job in enumerate(jobs)}
        for future in as_completed(places):
            yield places.pop(future), future.result()
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


def _begin_worker(stop: Event) -> None:
    global _stop
    _stop = stop
    # Ctrl-C reaches the whole group; the parent alone decides, and tells by `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)  # BLAS and OpenMP; numba's kernels here are serial


def _end_with_parent() -> None:
    """A killed parent tells nobody: without this its workers would wait for work for ever."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
