"""Run jobs one after the other, or in several processes that stop on request."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import TypeVar

from hmgdm_monai.errors import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")

_stop: Event | None = None  # set in worker processes only


class StoppedError(Exception):
    """The worker stops its job because the parent process has ended the run."""


def raise_if_stopped() -> None:
    """Stop a job if the parent has ended the run; long jobs call this regularly, so that Ctrl-C ends them soon."""
    if _stop is not None and _stop.is_set():
        raise StoppedError


def run_all(
    work: Callable[[Job], Result], jobs: Sequence[Job], num_workers: int
) -> Generator[tuple[int, Result], None, None]:
    """Run all jobs, each in a single process.

    Close the iterator (`contextlib.closing`) to stop early. Jobs that have not started are then dropped, running jobs
    stop at the next :func:`raise_if_stopped`, and this function waits for their processes.

    Args:
        work: function of a job; it must be picklable, and so must jobs and results.
        jobs: the jobs.
        num_workers: number of processes; 0 works in this process.

    Yields:
        (index in `jobs`, result), in the order in which jobs finish.

    Raises:
        InputError: a process died, for example because the system ran out of memory.
        Exception: whatever `work` raises; the other jobs are then stopped as described above.
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
    except BrokenProcessPool as error:
        raise InputError(
            f"one of the {num_workers} processes that prepare images died, perhaps for want of memory; run again with "
            "fewer num_workers: what is finished is kept"
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


def _begin_worker(stop: Event) -> None:
    global _stop
    _stop = stop
    # Ctrl-C reaches the whole process group. Only the parent handles it, and sets `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)  # BLAS and OpenMP; the numba kernels of this package are serial


def _end_with_parent() -> None:
    """End the worker when its parent is gone: a killed parent sends no signal, and the worker would wait forever."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
