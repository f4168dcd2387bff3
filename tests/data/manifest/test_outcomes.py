"""Outcomes that are refused, each in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmgdm_monai.data.manifest.outcomes import check_outcomes
from hmgdm_monai.errors import InputError


def write(path: Path, times: list[object], events: list[object]) -> Path:
    rows = [f"{n}.png,p{n},{time},{event}" for n, (time, event) in enumerate(zip(times, events, strict=True))]
    path.write_text("\n".join(["image,patient,time,event", *rows]))
    return path


def cohort(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes under a common end of the study: who is followed longest is mostly alive."""
    rng = np.random.default_rng(seed)
    death, end = rng.exponential(30 * rng.uniform(0.2, 5, count)), rng.uniform(20, 80, count)
    return np.minimum(death, end).round(2) + 0.01, (death <= end).astype(int)


def test_good_outcomes_pass(tmp_path: Path) -> None:
    for seed in range(5):
        times, events = cohort(seed)
        check_outcomes(write(tmp_path / "a.csv", list(times), list(events)))


def test_a_column_coded_the_other_way_round_is_refused_and_the_check_can_be_switched_off(tmp_path: Path) -> None:
    times, events = cohort(0)
    path = write(tmp_path / "a.csv", list(times), list(1 - events))
    with pytest.raises(InputError, match="the other way round: 1 must mean died") as caught:
        check_outcomes(path)
    assert "\n" not in str(caught.value)
    check_outcomes(path, check_coding=False)


def test_rows_without_an_outcome_are_not_looked_at(tmp_path: Path) -> None:
    times, events = cohort(0)
    missing = [("", 1), (5, "NA"), (0, 1), (-4, 0), ("nan", "None")]
    path = write(
        tmp_path / "a.csv", [*times, *(time for time, _ in missing)], [*events, *(event for _, event in missing)]
    )
    check_outcomes(path)


def test_gaps_of_a_patient_are_filled_before_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,patient,time,event\na.png,p,5,\nb.png,p,,1\nc.png,q,7,0\nd.png,q,,\n")
    check_outcomes(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("times", "events", "message"),
    [
        ([1, 2, 3], [1, 2, 2], r"line 3: event must be 1 \(died\) or 0 \(censored\), not '2' \(2 such rows\)"),
        ([1, 2, 3], [1, "dead", 0], "line 3: event must be"),
        ([1, 2, 3, 4], [2, 1, "dead", 2], r"line 2: event must be .*, not '2', 'dead' \(3 such rows\)"),
        ([1, "soon", 3, "later"], [1, 0, 0, 0], r"line 3: time must be a number above 0, not 'soon', 'later' \(2 such"),
        ([1, "", 0], ["NA", 1, 1], "no row has both a time above 0 and an event"),
        ([1, 2, 3], [0, 0, 0], "event is 0 in all 3 rows"),
        (list(range(1, 31)), [1] * 30, r"event is 1 \(died\) in all 30 rows"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, times: list[object], events: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_outcomes(write(tmp_path / "a.csv", times, events))
    assert "\n" not in str(caught.value)


def test_numbers_of_causes(tmp_path: Path) -> None:
    times, events = cohort(0)
    codes = np.where(events == 1, 1 + np.arange(60) % 2, 0)
    path = write(tmp_path / "a.csv", list(times), list(codes))
    check_outcomes(path, cause=2)
    with pytest.raises(InputError, match="event must be 1 .died. or 0 .censored., not '2'"):
        check_outcomes(path)
    with pytest.raises(InputError, match="no row has event 3, the cause of interest"):
        check_outcomes(path, cause=3)
    for bad in (-1, 1.5):
        with pytest.raises(InputError, match="event must be 0 .censored. or the number of a cause, from 1, not"):
            check_outcomes(write(tmp_path / "b.csv", [*times, 3], [*codes, bad]), cause=2)
