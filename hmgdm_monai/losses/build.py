"""Build the loss of a model file of patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.class_loss import ClassLoss
from hmgdm_monai.losses.cox import CoxLoss
from hmgdm_monai.losses.discrete_nll import DiscreteTimeNLL
from hmgdm_monai.losses.number_loss import NumberLoss
from hmgdm_monai.losses.ordinal import OrdinalLoss
from hmgdm_monai.losses.patient_loss import PatientLoss


def build_patient_loss(settings: Mapping[str, Any]) -> PatientLoss:
    """Build a loss from its ``settings``.

    Args:
        settings: name and arguments, for example ``{"name": "cox", "ties": "efron"}``.

    Raises:
        InputError: the loss does not exist.
    """
    name, arguments = settings["name"], {key: value for key, value in settings.items() if key != "name"}
    if name in ("mse", "huber"):
        return NumberLoss(name, **arguments)
    kinds: dict[str, type[PatientLoss]] = {
        "cox": CoxLoss,
        "discrete": DiscreteTimeNLL,
        "cross_entropy": ClassLoss,
        "ordinal": OrdinalLoss,
    }
    if name not in kinds:
        raise InputError(f"no loss is called {name!r}; there are {', '.join((*kinds, 'mse', 'huber'))}")
    return kinds[name](**arguments)
