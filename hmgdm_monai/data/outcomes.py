"""Survival outcomes: what is refused, and a column that looks coded the other way round."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hmgdm_monai.data.manifest_columns import read_columns
from hmgdm_monai.errors import InputError

_LATER_P = 0.05  # events that come later than censorings by this p-value are looked at ...
_LONGEST_SHARE = 2 / 3  # ... and refused if this share of the longest-followed tenth is said to have died


def check_outcomes(path: Path | str, check_coding: bool = True) -> None:
    """Refuse a manifest whose outcomes would train or score a model wrongly.

    Every row counts, also those that the manifest would leave out: where an event is coded 1 and 2, leaving out the
    rows with 2 would leave out one kind of outcome.

    Args:
        path: a manifest with the columns `time` and `event`.
        check_coding: also refuse outcomes that look as if 1 stood for alive: the "deaths" come later than the
            censorings (one-sided Mann-Whitney p < 0.05), and two thirds or more of the longest-followed tenth "died".
            In a cohort under observation it is the longest-followed who are alive. A guess, which is why it can be
            switched off, and can miss.

    Raises:
        InputError: no such column; an event other than 0 or 1; a time that is not above 0; an empty cell; no events, or
            nothing but events in 20 rows or more, or the coding as above. One line.
    """
    rows = read_columns(path, ("time", "event"))
    name = Path(path).name
    faults = {"time": [], "event": []}
    for line, cells in rows.items():
        if (time := _number(cells["time"])) is None or time <= 0:
            faults["time"].append((line, cells["time"]))
        if _number(cells["event"]) not in (0.0, 1.0):
            faults["event"].append((line, cells["event"]))
    wanted = {"time": "a number above 0", "event": "1 (died) or 0 (censored)"}
    for column, bad in faults.items():
        if bad:
            line, text = bad[0]
            more = f" ({len(bad)} such rows)" if len(bad) > 1 else ""
            raise InputError(
                f"{name} line {line}: {column} must be {wanted[column]}, not {text!r}{more}; mend the column"
            )
    times = np.array([float(cells["time"]) for cells in rows.values()])
    died = np.array([float(cells["event"]) == 1 for cells in rows.values()])
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
                "Where all did die, set check_event_coding to false"
            )
        return
    later = mannwhitneyu(times[died], times[~died], alternative="greater").pvalue
    longest = np.argsort(times)[-max(3, len(times) // 10) :]
    if later < _LATER_P and died[longest].mean() >= _LONGEST_SHARE:
        raise InputError(
            f"{name}: event looks coded the other way round: 1 must mean died, yet rows with 1 were followed longer "
            f"(median {np.median(times[died]):g}) than rows with 0 (median {np.median(times[~died]):g}); swap 0 and 1, "
            "or set check_event_coding to false if it is right"
        )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
