"""Build a survival loss by name, fitted to training patients."""

from __future__ import annotations

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.losses.discrete_nll import DiscreteTimeNLL, fit_cuts

LOSSES = ("cox", "discrete")


def survival_loss(
    name: str = "cox",
    ties: str = "efron",
    num_intervals: int = 4,
    time: np.ndarray | None = None,
    event: np.ndarray | None = None,
) -> CoxLoss | DiscreteTimeNLL:
    """Build a survival loss, fitted to training patients if it needs them.

    Args:
        name: "cox" or "discrete".
        ties: Cox: "efron" or "breslow".
        num_intervals: discrete: number of time intervals.
        time: (P,) times of the training patients; required for "discrete".
        event: (P,) 1 = died; required for "discrete".

    Raises:
        InputError: the loss does not exist, or times or events are missing.
    """
    if name not in LOSSES:
        raise InputError(f"no survival loss is called {name!r}; there are {', '.join(LOSSES)}")
    if name == "cox":
        return CoxLoss(ties)
    if time is None or event is None:
        raise InputError("loss discrete: its intervals need times and events of training patients; give both")
    return DiscreteTimeNLL(fit_cuts(time, event, num_intervals))
