"""Work off the event loop: so many at once, each with a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread

from hmgdm_monai.errors import InputError

T = TypeVar("T")
_IN_WORK: ContextVar[bool] = ContextVar("in_work", default=False)


class BusyError(Exception):
    """Too many requests wait already, or this one waited too long; its text is one line."""


class Work:
    """Runs functions in threads, so that the server goes on answering.

    Work that is too late is answered by an error at once. Its thread ends at the next :func:`stop_if_late`, and only
    then may the next one start: late work does not add up.

    Args:
        name: of the kind of work, for errors.
        seconds: longest time for one, and longest time of waiting for a turn.
        at_once: how many run at the same time.
        waiting: how many more may wait.
    """

    def __init__(self, name: str, seconds: float, at_once: int, waiting: int) -> None:
        self._name = name
        self._seconds = seconds
        self._most_waiting = waiting
        self._turns = anyio.CapacityLimiter(at_once)
        self._threads = anyio.CapacityLimiter(float("inf"))  # turns alone decide how many run
        self._holders: set[object] = set()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in a thread and wait for what it returns.

        Args:
            function: without arguments.

        Returns:
            What it returns.

        Raises:
            BusyError: no turn came.
            InputError: it took too long.
        """
        turn = await self._turn()
        begun = threading.Event()

        def in_thread() -> T:
            begun.set()
            _IN_WORK.set(True)
            try:
                return function()
            finally:
                anyio.from_thread.run_sync(self._give_back, turn)

        with anyio.move_on_after(self._seconds):
            try:
                return await anyio.to_thread.run_sync(in_thread, abandon_on_cancel=True, limiter=self._threads)
            finally:
                if not begun.is_set():
                    self._give_back(turn)
        raise InputError(
            f"{self._name}: took longer than {self._seconds:g} s; ask for a smaller region (setting work_seconds)"
        )

    async def _turn(self) -> object:
        turn = object()
        if self._turns.statistics().tasks_waiting >= self._most_waiting:
            raise BusyError(f"{self._name}: {self._most_waiting} requests wait already; ask again later")
        with anyio.move_on_after(self._seconds):
            await self._turns.acquire_on_behalf_of(turn)
            self._holders.add(turn)
            return turn
        raise BusyError(f"{self._name}: no turn came within {self._seconds:g} s; ask again later")

    def _give_back(self, turn: object) -> None:
        """Called in the event loop alone."""
        if turn in self._holders:
            self._holders.remove(turn)
            self._turns.release_on_behalf_of(turn)


def stop_if_late() -> None:
    """End the work here if nobody waits for it any more; long work calls it between its parts."""
    if _IN_WORK.get():
        anyio.from_thread.check_cancelled()
