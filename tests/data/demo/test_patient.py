"""Patients of the demo cohort: survival follows the tissue, folds are balanced."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored

from hmgdm_monai.data.demo.patient import FOLDS, LABELS, TISSUES, plan_patient


@pytest.fixture(scope="module")
def many():
    return [plan_patient(11, index) for index in range(1200)]


def test_survival_follows_the_true_hazard(many):
    event = np.array([patient.event for patient in many], dtype=bool)
    time = np.array([patient.time for patient in many])
    hazard = np.array([patient.log_hazard for patient in many])
    assert concordance_index_censored(event, time, hazard)[0] > 0.7
    shuffled = np.random.default_rng(0).permutation(hazard)
    assert abs(concordance_index_censored(event, time, shuffled)[0] - 0.5) < 0.05
    assert 0.25 < 1.0 - event.mean() < 0.45
    assert time.min() > 0


def test_tumor_raises_the_hazard_and_lymphocytes_lower_it(many):
    tissues = np.array([[patient.shares["tumor"], patient.shares["lymphocytes"]] for patient in many])
    hazard = np.array([patient.log_hazard for patient in many])
    slopes = np.linalg.lstsq(np.column_stack([tissues, np.ones(len(many))]), hazard, rcond=None)[0]
    assert slopes[0] > 0 > slopes[1]


def test_shares_sum_to_one_and_tell_the_labels_apart(many):
    for patient in many:
        assert tuple(patient.shares) == TISSUES
        assert sum(patient.shares.values()) == pytest.approx(1.0)
        assert min(patient.shares.values()) >= 0
    tumor = {label: [p.shares["tumor"] for p in many if p.label == label] for label in LABELS}
    assert max(tumor["benign"]) < min(tumor["low_grade"])
    assert max(tumor["low_grade"]) < min(tumor["high_grade"])


def test_every_fold_holds_every_label_equally_often():
    counts = Counter((patient.label, patient.fold) for patient in (plan_patient(0, index) for index in range(24)))
    assert len(counts) == len(LABELS) * FOLDS
    assert set(counts.values()) == {2}


def test_a_patient_depends_on_seed_and_index_alone():
    assert plan_patient(3, 5) == plan_patient(3, 5)
    assert plan_patient(3, 5).shares != plan_patient(4, 5).shares
    assert plan_patient(3, 5).shares != plan_patient(3, 8).shares
