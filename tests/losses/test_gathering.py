"""Two processes, half of a batch each, equal one process with all of it: loss, gradient and center."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from distributed_cases import cases, step  # noqa: E402

from hmgdm_monai.losses.gathering import gather_with_gradients, total  # noqa: E402
from hmgdm_monai.ranks import num_ranks, rank  # noqa: E402


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("gloo")
    program = str(Path(__file__).with_name("distributed_cases.py"))
    arguments = ["2", str(folder / "meeting"), str(folder / "result")]
    running = [subprocess.Popen([sys.executable, program, str(rank), *arguments]) for rank in range(2)]
    try:
        assert [process.wait(timeout=120) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    return [torch.load(folder / f"result.{rank}") for rank in range(2)]


@pytest.mark.parametrize("name", list(cases()))
def test_two_processes_equal_one(name: str, two_processes: list[dict]) -> None:
    one = step(*cases()[name])
    for result in two_processes:
        for key, value in one.items():
            torch.testing.assert_close(result[name][key], value, rtol=1e-12, atol=1e-13)
    if "none" in name:
        assert one["loss"] == 0 and not one["gradient"].any() and not one["center"].any()
    else:
        assert one["loss"] > 0 and one["gradient"].abs().max() > 1e-4
        assert "dino" not in name or one["center"].any()


def test_one_process_needs_no_setting_up() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    assert num_ranks() == 1 and rank() == 0
    assert gather_with_gradients(x) is x and torch.equal(total(x), x) and not total(x).requires_grad
