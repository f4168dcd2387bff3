from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest
from lib.work import BusyError, Work, stop_if_late

from hmgdm_monai.errors import InputError


def until_late(ended: threading.Event) -> None:
    """Works for ever, in parts."""
    try:
        while True:
            stop_if_late()
            time.sleep(0.01)
    finally:
        ended.set()


def run(function: Callable[[], Awaitable[None]]) -> None:
    anyio.run(function)


def test_the_event_loop_goes_on_while_work_runs():
    async def main() -> None:
        work, ticks, go_on = Work("work", 30, 1, 1), [], threading.Event()

        async def tick() -> None:
            for number in range(5):
                await anyio.sleep(0.01)
                ticks.append(number)
            go_on.set()

        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            assert await work.run(lambda: go_on.wait(20))
        assert ticks == [0, 1, 2, 3, 4]

    run(main)


def test_results_and_errors_come_back():
    async def main() -> None:
        work = Work("work", 30, 1, 1)
        assert await work.run(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await work.run(lambda: 1 / 0)
        assert await work.run(lambda: 8) == 8  # the turn was given back

    run(main)


def test_late_work_is_answered_in_time_ends_and_gives_its_turn_back():
    async def main() -> None:
        work, ended = Work("work on slides", 0.2, 1, 1), threading.Event()
        start = time.monotonic()
        with pytest.raises(InputError, match="work on slides: took longer than 0.2 s"):
            await work.run(lambda: until_late(ended))
        assert time.monotonic() - start < 10
        assert await anyio.to_thread.run_sync(ended.wait, 10)
        assert await work.run(lambda: 7) == 7

    run(main)


def test_work_that_cannot_be_stopped_keeps_its_turn():
    async def main() -> None:
        work, go_on = Work("work", 0.2, 1, 1), threading.Event()
        with pytest.raises(InputError, match="took longer"):
            await work.run(go_on.wait)
        with pytest.raises(BusyError, match="no turn came within 0.2 s"):
            await work.run(lambda: 7)
        go_on.set()
        await anyio.sleep(0.1)
        assert await work.run(lambda: 7) == 7

    run(main)


def test_so_many_work_at_once_and_so_many_wait():
    async def main() -> None:
        work, go_on, now, most = Work("work", 30, 2, 1), threading.Event(), [], []
        refused = []

        def one() -> None:
            now.append(1)
            most.append(len(now))
            go_on.wait(20)
            now.pop()

        async def ask() -> None:
            try:
                await work.run(one)
            except BusyError as error:
                refused.append(str(error))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)
            await anyio.sleep(0.2)
            go_on.set()
        assert max(most) == 2 and len(most) == 3
        assert refused == ["work: 1 requests wait already; ask again later"] * 2

    run(main)


def test_outside_of_work_nothing_stops():
    assert stop_if_late() is None
