"""Clinical columns of the manifest as numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from hmgdm_monai.data.manifest.table import number_of

logger = logging.getLogger(__name__)
_FEWEST = 5  # patients that a category needs, and that must be outside of it, to have a hazard ratio


def encode_column(column: str, cells: Sequence[str], train: np.ndarray) -> dict[str, np.ndarray]:
    """Return the design columns of one column by name, each (N,) float64.

    If all filled cells are numbers, the column is a number: its name is that of the column, and missing numbers are the
    median of the training split. Otherwise each category but the most frequent one of the training split has a column
    of 0 and 1 ("stage: III against I"); missing or unknown categories count as the most frequent one.

    Args:
        column: name of the column.
        cells: cell of each patient; "" if missing.
        train: indices of the training split.
    """
    filled = {cell for cell in cells if cell}
    if any(number_of(cell) is None for cell in filled):
        texts = np.array(cells)
        names, counts = np.unique(texts[train][texts[train] != ""], return_counts=True)
        if len(names) == 0:
            return {column: np.zeros(len(cells))}
        reference = names[np.argmax(counts)]
        others = names[names != reference]
        return {f"{column}: {name} against {reference}": (texts == name).astype(float) for name in others}
    numbers = np.array([float(cell) if cell else np.nan for cell in cells])
    known = numbers[train][np.isfinite(numbers[train])]
    return {column: np.where(np.isfinite(numbers), numbers, np.median(known) if len(known) else 0.0)}


def columns_for_ratios(cells: Mapping[str, Sequence[str]], event: np.ndarray) -> dict[str, np.ndarray]:
    """Return clinical columns in the form in which they have hazard ratios, each (N,) float64 by name.

    Numbers are per standard deviation, which the name says. What has no finite ratio is left out and logged: columns
    that do not vary, and categories with fewer than 5 patients in or outside of them, or without a death on one side.

    Args:
        cells: cell of each patient by column; "" if missing.
        event: (N,) 1 = died.
    """
    found: dict[str, np.ndarray] = {}
    for column, texts in cells.items():
        for name, values in encode_column(column, texts, np.arange(len(event))).items():
            if name == column:
                deviation = values.std()
                if deviation > 0:
                    found[f"{name}, per SD ({deviation:.3g})"] = (values - values.mean()) / deviation
                    continue
            elif all((values == side).sum() >= _FEWEST and event[values == side].any() for side in (0, 1)):
                found[name] = values
                continue
            logger.warning("%s has no hazard ratio: too few patients or deaths, or it does not vary", name)
    return found
