"""Survival losses by name, for configs and model files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    """A survival loss, fitted to training patients where it needs them.

    Args:
        name: "cox" or "discrete".
        ties: of Cox, "efron" or "breslow".
        num_intervals: of discrete time.
        time: (P,) of the training patients; needed for "discrete".
        event: (P,) 1 = died; needed for "discrete".

    Raises:
        InputError: there is no such loss.
    """
    _check(name)
    if name == "cox":
        return CoxLoss(ties)
    if time is None or event is None:
        raise InputError("loss discrete: its intervals are cut by times and events of training patients; give both")
    return DiscreteTimeNLL(fit_cuts(time, event, num_intervals))


def build_loss(settings: Mapping[str, Any]) -> CoxLoss | DiscreteTimeNLL:
    """The loss of a model file.

    Args:
        settings: of the loss, ``{"name": "cox", "ties": ...}`` or ``{"name": "discrete", "cuts": [...]}``.

    Raises:
        InputError: there is no such loss.
    """
    _check(settings["name"])
    return CoxLoss(settings["ties"]) if settings["name"] == "cox" else DiscreteTimeNLL(settings["cuts"])


def _check(name: str) -> None:
    if name not in LOSSES:
        raise InputError(f"no survival loss is called {name!r}; there are {', '.join(LOSSES)}")
