"""The start of each run."""

from __future__ import annotations

import torch
from monai.utils import set_determinism

from hmgdm_monai.errors import end_on_sigterm, end_together_on_sigterm, one_line_errors
from hmgdm_monai.ranks import is_first_rank, num_ranks
from hmgdm_monai.tasks.configs.check import check_running_settings
from hmgdm_monai.tasks.configs.settings.types import OrNone, Seed, Whole
from hmgdm_monai.tasks.configs.settings.values import checked

_Threads = OrNone[Whole]


def start_run(seed: int = 0, num_threads: int | None = 1) -> None:
    """Begin a run: errors in one line, SIGTERM as Ctrl-C, settings checked, random numbers and threads set.

    Args:
        seed: seed of all random numbers.
        num_threads: number of CPU threads of PyTorch. Graphs are small, so more threads mostly wait for each other.
            None keeps PyTorch's default.

    Raises:
        InputError: the config has a setting that nothing reads, or a value that a setting cannot have.
    """
    one_line_errors()
    if num_ranks() == 1:
        end_on_sigterm()
    else:
        end_together_on_sigterm(is_first_rank())
    check_running_settings()
    set_determinism(checked(seed, Seed))  # they are from before the check, which turns texts into numbers
    threads = checked(num_threads, _Threads)
    if threads is not None:
        torch.set_num_threads(threads)
