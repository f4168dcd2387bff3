"""How a run begins."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism

from hmgdm_monai.errors import InputError, input_error_in
from hmgdm_monai.tasks.configs.start import start_run

NEAREST = {"sed": "seed", "num_thread": "num_threads"}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    hook, threads, terminated = sys.excepthook, torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    yield
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, terminated)
    torch.set_num_threads(threads)
    set_determinism(None)


def begin(**settings: Any) -> None:
    start = {"_target_": "hmgdm_monai.tasks.configs.start.start_run", "seed": "@seed", "num_threads": "@num_threads"}
    config = {"seed": 3, "num_threads": 1, "initialize": [start], **settings}
    ConfigParser(config).get_parsed_content("initialize::0")


def test_the_seed_decides_all_random_numbers() -> None:
    drawn = []
    for seed in (3, 3, 4):
        begin(seed=seed)
        drawn.append((float(torch.rand(())), float(np.random.rand())))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0] and drawn[0][1] != drawn[2][1]


def test_threads_are_set_or_left() -> None:
    torch.set_num_threads(2)
    begin(num_threads=None)
    assert torch.get_num_threads() == 2
    begin()
    assert torch.get_num_threads() == 1


def test_each_unknown_setting_has_a_line_without_a_traceback(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(RuntimeError) as caught:
        begin(**dict.fromkeys(NEAREST, 2))
    error = input_error_in(caught.value)
    assert error is not None
    told = [f"{name}: there is no such setting; did you mean {near}?" for name, near in NEAREST.items()]
    assert str(error) == "\n".join(sorted(told))
    sys.excepthook(type(caught.value), caught.value, None)
    assert capsys.readouterr().err == f"error: {error}\n"


def test_out_of_a_config_it_says_so() -> None:
    with pytest.raises(InputError, match="no config is running"):
        start_run()


def test_sigterm_interrupts_a_run_and_ends_several_ranks_together(monkeypatch: pytest.MonkeyPatch) -> None:
    tells: list[bool] = []
    monkeypatch.setattr("hmgdm_monai.tasks.configs.start.num_ranks", lambda: 2)
    monkeypatch.setattr("hmgdm_monai.tasks.configs.start.end_together_on_sigterm", tells.append)
    begin()
    assert tells == [True]  # this is the first rank, which says how to go on
    monkeypatch.undo()
    begin()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
