"""Survival outcomes: what is refused, and a column that looks coded the other way round."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hmgdm_monai.data.manifest.columns import read_columns
from hmgdm_monai.data.manifest.table import number_of
from hmgdm_monai.errors import InputError

_LATER_P = 0.05  # events that come later than censorings by this p-value are looked at ...
_LONGEST_SHARE = 2 / 3  # ... and refused if this share of the longest-followed tenth is said to have died


def check_outcomes(path: Path | str, check_coding: bool = True) -> None:
    """Refuse a manifest whose outcomes would train or score a model wrongly.

    Every row counts, also those that the manifest would leave out: where an event is coded 1 and 2, leaving out the
    rows with 2 would leave out one kind of outcome. Gaps are filled from the patient's other rows first. Rows without
    a time above 0 or without an event are not looked at: the manifest leaves their patients out, and names them.

    Args:
        path: a manifest with the columns `patient`, `time` and `event`.
        check_coding: also refuse outcomes that look as if 1 stood for alive: the "deaths" come later than the
            censorings (one-sided Mann-Whitney p < 0.05), and two thirds or more of the longest-followed tenth "died".
            In a cohort under observation it is the longest-followed who are alive. A guess, which is why it can be
            switched off, and can miss.

    Raises:
        InputError: no such column; an event other than 0 or 1; a time that is no number; no outcome at all; no events,
            or nothing but events in 20 rows or more, or the coding as above. One line.
    """
    rows = read_columns(path, ("patient", "time", "event"))
    name = Path(path).name
    _refuse(name, "time", "a number above 0", ((n, row["time"]) for n, row in rows.items()), allowed=None)
    _refuse(name, "event", "1 (died) or 0 (censored)", ((n, row["event"]) for n, row in rows.items()), allowed=(0, 1))
    known: dict[str, dict[str, float]] = {}
    for row in rows.values():
        numbers = {column: number_of(row[column]) for column in ("time", "event")}
        if numbers["time"] is not None and numbers["time"] <= 0:
            numbers["time"] = None
        of_patient = known.setdefault(row["patient"], {})
        of_patient.update({c: value for c, value in numbers.items() if value is not None and c not in of_patient})
    outcomes = [known[row["patient"]] for row in rows.values()]
    outcomes = [outcome for outcome in outcomes if len(outcome) == 2]
    if not outcomes:
        raise InputError(f"{name}: no row has both a time above 0 and an event; fill in the columns time and event")
    times = np.array([outcome["time"] for outcome in outcomes])
    died = np.array([outcome["event"] == 1 for outcome in outcomes])
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


def _refuse(
    name: str, column: str, wanted: str, cells: Iterable[tuple[int, str]], allowed: tuple[float, ...] | None
) -> None:
    """Refuse filled cells that are no number, or none of the allowed ones."""
    numbers = [(line, text, number_of(text)) for line, text in cells if text]
    bad = [(line, text) for line, text, value in numbers if value is None or (allowed and value not in allowed)]
    if bad:
        texts = list(dict.fromkeys(text[:40] for _, text in bad))
        shown = ", ".join(map(repr, texts[:5])) + (", ..." if len(texts) > 5 else "")
        more = f" ({len(bad)} such rows)" if len(bad) > 1 else ""
        raise InputError(f"{name} line {bad[0][0]}: {column} must be {wanted}, not {shown}{more}; mend the column")
