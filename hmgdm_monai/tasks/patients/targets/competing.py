"""Survival with competing risks: events of several causes, one of which is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.manifest.columns import read_columns
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.manifest.outcomes import check_outcomes
from hmgdm_monai.data.manifest.patient_cells import patient_cells
from hmgdm_monai.tasks.patients.targets.fold_prediction import FoldPrediction
from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget, has_two_groups, high_risk
from hmgdm_monai.tasks.patients.targets.survival_extras import report_hazard_ratios
from hmgdm_monai.tasks.patients.targets.target import Values


class CompetingRisksTarget(SurvivalTarget):
    """Time to an event of one cause, where events of other causes end the observation.

    The column of events has a number for each cause, from 1; 0 = censored. Outcomes are (time, event) with event 1 for
    the cause of interest alone, so training and scores are those of the cause-specific hazard: patients with an event
    of another cause count as censored. The figure shows the cumulative incidence of all causes.

    Args:
        time_column: column of the times.
        event_column: column of the causes.
        cause: number of the cause of interest.
        cause_names: name of each cause by its number, for the figure; None for "cause 1" and so on.
        check_event_coding: refuse a column whose coding looks inverted.
        time_label: label of the time axis, with unit.
    """

    kind = "competing_risks"

    def __init__(
        self,
        time_column: str = "time",
        event_column: str = "event",
        cause: int = 1,
        cause_names: Mapping[str, str] | None = None,
        check_event_coding: bool = True,
        time_label: str = "months",
    ) -> None:
        super().__init__(time_column, event_column, check_event_coding, time_label)
        self.cause, self.cause_names = int(cause), {int(code): name for code, name in (cause_names or {}).items()}
        self._codes: dict[str, int] = {}  # by patient

    @property
    def settings(self) -> dict[str, Any]:
        """Kind, columns and cause."""
        return {**super().settings, "cause": self.cause}

    @property
    def names(self) -> Mapping[str, str]:
        """Time by the user's name; the manifest's own column of events takes no causes."""
        return {"time": self.time_column, "event": ""}

    @property
    def required(self) -> tuple[str, ...]:
        """Time."""
        return ("time",)

    def check(self, path: Path) -> None:
        """Check coding and kinds of both columns."""
        check_outcomes(path, self.check_event_coding, self.time_column, self.event_column, cause=self.cause)

    def read(self, path: Path, rows: Sequence[ManifestRow]) -> tuple[Values, dict[str, str]]:
        """Return time and event of each patient, and keep the cause for the figure."""
        cells, faults = patient_cells(rows, read_columns(path, [self.event_column]), self.event_column)
        times = {row.patient: cast(float, row.time) for row in rows}
        self._codes = {patient: int(float(text)) for patient, text in cells.items()}
        return {patient: (times[patient], float(code == self.cause)) for patient, code in self._codes.items()}, faults

    @property
    def convention(self) -> str:
        """Coding of events, direction of the risk."""
        return (
            f"event: 1 = cause {self.cause}, 0 = another cause or censored; risk: higher = earlier event; high risk: "
            "above the training median"
        )

    def draw(self, folder: Path, name: str, first: bool, folds: Sequence[FoldPrediction], note: str | None) -> None:
        """Cumulative incidence of all causes in the risk groups: ``incidence.png``."""
        from hmgdm_monai.visualize.cumulative_incidence import draw_cumulative_incidence
        from hmgdm_monai.visualize.save import save_figure

        path = folder / ("incidence.png" if first else f"incidence_{safe_name(name)}.png")
        time = np.concatenate([fold.values[:, 0] for fold in folds])
        code = np.array([self._codes[patient] for fold in folds for patient in fold.patients])
        high = np.concatenate([high_risk(fold.prediction) for fold in folds])
        if not has_two_groups(high, name, path, "incidence is"):
            return
        others = [int(one) for one in np.unique(code) if one not in (0, self.cause)]
        causes = {one: self.cause_names.get(one, f"cause {one}") for one in (self.cause, *others)}
        cut = (
            "Each patient's risk comes from a model that never saw the patient. High risk: above the median of that "
            "model's training patients. Aalen-Johansen estimates; bands: 95 % intervals."
        )
        title = f"Cumulative incidence by predicted risk: {name.replace('_', ' ')}"
        save_figure(draw_cumulative_incidence(time, code, high, causes, title, self.time_label, cut, note), path)

    def report_run(
        self,
        folder: Path,
        results: Mapping[str, Sequence[FoldPrediction]],
        clinical: Mapping[str, Mapping[str, str]],
        note: str | None,
    ) -> dict[str, Any]:
        """Cause-specific hazard ratios; predicted probabilities ignore the other causes, so they are not calibrated."""
        name, folds = next(iter(results.items()))
        return {"hazard_ratios": report_hazard_ratios(folder, name, folds, clinical, note)}
