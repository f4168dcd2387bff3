"""Validate survival outcomes, and detect an event column that is coded the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hmgdm_monai.data.manifest.columns import read_columns
from hmgdm_monai.data.manifest.table import number_of
from hmgdm_monai.errors import InputError

_LATER_P = 0.05  # events that come later than censorings with this p-value are suspicious ...
_LONGEST_SHARE = 2 / 3  # ... and raise if this share of the longest-followed tenth is coded as died


def check_outcomes(
    path: Path | str,
    check_coding: bool = True,
    time_column: str = "time",
    event_column: str = "event",
    cause: int | None = None,
) -> None:
    """Raise if the outcomes of a manifest would make training or scoring of a model wrong.

    All rows are checked, also those that the manifest would skip: if an event is coded 1 and 2, skipping the rows with
    2 would remove one kind of outcome. Empty cells are first filled from the patient's other rows. Rows without a
    time above 0 or without an event are not checked: the manifest skips and reports their patients.

    Args:
        path: path of a manifest with the columns `patient`, time and event.
        check_coding: also raise if 1 seems to mean alive: the "deaths" come later than the censorings (one-sided
            Mann-Whitney p < 0.05), and at least two thirds of the longest-followed tenth "died". In a cohort under
            observation, the longest-followed patients are usually alive. This is a heuristic that can be wrong in
            both directions, so it can be switched off.
        time_column: name of the column of times.
        event_column: name of the column of events.
        cause: number of the cause of interest, if events are numbers of causes, from 1 (competing risks); None if they
            are 0 and 1.

    Raises:
        InputError: a column is missing, an event is not 0 or 1 (or not the number of a cause), a time is not a number,
            there are no outcomes or no events, all of at least 20 rows are events, or the coding looks reversed. The
            message is one line.
    """
    columns = {"time": time_column, "event": event_column}
    rows = read_columns(path, ("patient", *columns.values()))
    name = Path(path).name
    _refuse(name, time_column, "a number above 0", ((n, row[time_column]) for n, row in rows.items()), allowed=None)
    events = ((n, row[event_column]) for n, row in rows.items())
    if cause is None:
        _refuse(name, event_column, "1 (died) or 0 (censored)", events, allowed=(0, 1))
    else:
        _refuse(name, event_column, "0 (censored) or the number of a cause, from 1", events, allowed=range(100))
    known: dict[str, dict[str, float]] = {}
    for row in rows.values():
        numbers = {key: number_of(row[column]) for key, column in columns.items()}
        if numbers["time"] is not None and numbers["time"] <= 0:
            numbers["time"] = None
        of_patient = known.setdefault(row["patient"], {})
        of_patient.update({c: value for c, value in numbers.items() if value is not None and c not in of_patient})
    outcomes = [known[row["patient"]] for row in rows.values()]
    outcomes = [outcome for outcome in outcomes if len(outcome) == 2]
    if not outcomes:
        raise InputError(
            f"{name}: no row has both a time above 0 and an event; fill in the columns {time_column} and {event_column}"
        )
    times = np.array([outcome["time"] for outcome in outcomes])
    codes = np.array([outcome["event"] for outcome in outcomes])
    died = codes > 0
    if cause is not None and not (codes == cause).any():
        raise InputError(
            f"{name}: no row has event {cause}, the cause of interest; set cause to a number of the column"
        )
    if not died.any():
        raise InputError(f"{name}: event is 0 in all {len(died)} rows; 1 = died is needed in some of them")
    if check_coding:
        _check_coding(name, times, died)


def _check_coding(name: str, times: np.ndarray, died: np.ndarray) -> None:
    from scipy.stats import mannwhitneyu

    if died.all():
        if len(died) >= 20:
            raise InputError(
                f"{name}: event is 1 (died) in all {len(died)} rows; check its coding, 0 = censored. "
                "If all patients did die, set check_event_coding to false"
            )
        return
    later = mannwhitneyu(times[died], times[~died], alternative="greater").pvalue
    longest = np.argsort(times)[-max(3, len(times) // 10) :]
    if later < _LATER_P and died[longest].mean() >= _LONGEST_SHARE:
        raise InputError(
            f"{name}: event looks coded the other way round: 1 must mean died, yet rows with 1 were followed longer "
            f"(median {np.median(times[died]):g}) than rows with 0 (median {np.median(times[~died]):g}); swap 0 and 1, "
            "or set check_event_coding to false if the coding is correct"
        )


def _refuse(
    name: str, column: str, wanted: str, cells: Iterable[tuple[int, str]], allowed: Sequence[float] | None
) -> None:
    """Raise if a filled cell is not a number or not one of the allowed values."""
    numbers = [(line, text, number_of(text)) for line, text in cells if text]
    bad = [(line, text) for line, text, value in numbers if value is None or (allowed and value not in allowed)]
    if bad:
        texts = list(dict.fromkeys(text[:40] for _, text in bad))
        shown = ", ".join(map(repr, texts[:5])) + (", ..." if len(texts) > 5 else "")
        more = f" ({len(bad)} such rows)" if len(bad) > 1 else ""
        raise InputError(f"{name} line {bad[0][0]}: {column} must be {wanted}, not {shown}{more}; correct the column")
