"""A seeded, procedurally drawn H&E cohort: slides, tiles, labels and survival, so that examples need no real data."""

from __future__ import annotations

from hmgdm_monai.data.demo.cohort import DemoCohort, draw_if_default, make_demo_cohort
from hmgdm_monai.data.demo.patient import LABELS, TISSUES, PatientPlan, plan_patient

__all__ = ["LABELS", "TISSUES", "DemoCohort", "PatientPlan", "draw_if_default", "make_demo_cohort", "plan_patient"]
