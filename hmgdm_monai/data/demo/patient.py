"""The plan of a demo patient before drawing: label, tissue shares, stain and survival."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LABELS = ("benign", "low_grade", "high_grade")
TISSUES = ("stroma", "gland", "tumor", "necrosis", "lymphocytes")
FOLDS = 4

# (lowest, highest) planned share of the tissue area, and of pleomorphism (0 none, 1 most), by label.
_RANGES = {
    "benign": {"gland": (0.24, 0.36), "tumor": (0.0, 0.0), "necrosis": (0.0, 0.0), "pleomorphism": (0.0, 0.0)},
    "low_grade": {"gland": (0.08, 0.18), "tumor": (0.2, 0.36), "necrosis": (0.0, 0.02), "pleomorphism": (0.1, 0.35)},
    "high_grade": {"gland": (0.0, 0.06), "tumor": (0.46, 0.64), "necrosis": (0.05, 0.17), "pleomorphism": (0.6, 1.0)},
}
_LYMPHOCYTE_RANGE = (0.02, 0.2)
_TUMOR_EFFECT, _LYMPHOCYTE_EFFECT = 5.0, -8.0
_WEIBULL_SHAPE, _WEIBULL_SCALE_MONTHS = 1.3, 36.0
_CENSORING_MONTHS = (6.0, 110.0)


@dataclass(frozen=True)
class PatientPlan:
    """All properties of a patient that do not need drawing.

    Attributes:
        seed: seed of the cohort.
        index: index of the patient in the cohort, from 0.
        label: one of `LABELS`.
        fold: cross-validation fold, 0 to 3, balanced over labels.
        shares: planned share of each of `TISSUES` in the tissue area; they sum to 1.
        pleomorphism: how much tumor nuclei differ from each other, 0 to 1.
        log_hazard: the true log hazard ratio relative to the mean patient.
        time: months to death or to the last follow-up.
        event: 1 = died, 0 = censored.
    """

    seed: int
    index: int
    label: str
    fold: int
    shares: dict[str, float]
    pleomorphism: float
    log_hazard: float
    time: float
    event: int

    @property
    def name(self) -> str:
        """The patient's name in the manifests, also the stem of the slide's file name."""
        return f"patient_{self.index:02d}"

    def rng(self, part: int) -> np.random.Generator:
        """A random generator for one part of the drawing, independent of all other parts and patients."""
        return np.random.default_rng([self.seed, self.index, part])


def plan_patient(seed: int, index: int) -> PatientPlan:
    """Draw a patient's plan; it depends only on (seed, index), so that a cohort can be extended and resumed.

    Survival is a proportional hazard on a Weibull baseline (shape 1.3, scale 36 months): the log-hazard is
    5 (tumor share - 0.3) - 8 (lymphocyte share - 0.1). Censoring is uniform on 6 to 110 months and independent of it.

    Args:
        seed: seed of the cohort, not negative.
        index: index of the patient, from 0. Label and fold are index modulo 3 and modulo 4, so each pair of label and
            fold occurs once in every 12 patients.
    """
    rng = np.random.default_rng([seed, index, 0])
    label = LABELS[index % len(LABELS)]
    shares = {tissue: float(rng.uniform(*_RANGES[label][tissue])) for tissue in ("gland", "tumor", "necrosis")}
    shares["lymphocytes"] = float(rng.uniform(*_LYMPHOCYTE_RANGE))
    shares["stroma"] = 1.0 - sum(shares.values())
    pleomorphism = float(rng.uniform(*_RANGES[label]["pleomorphism"]))

    log_hazard = _TUMOR_EFFECT * (shares["tumor"] - 0.3) + _LYMPHOCYTE_EFFECT * (shares["lymphocytes"] - 0.1)
    death = _WEIBULL_SCALE_MONTHS * (rng.exponential() / math.exp(log_hazard)) ** (1.0 / _WEIBULL_SHAPE)
    censored = rng.uniform(*_CENSORING_MONTHS)
    return PatientPlan(
        seed=seed,
        index=index,
        label=label,
        fold=index % FOLDS,
        shares={tissue: shares[tissue] for tissue in TISSUES},
        pleomorphism=pleomorphism,
        log_hazard=log_hazard,
        time=max(round(float(min(death, censored)), 2), 0.1),
        event=int(death <= censored),
    )
