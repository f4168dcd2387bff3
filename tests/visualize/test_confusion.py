from __future__ import annotations

import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.confusion import draw_confusion


def test_cells_hold_share_and_count_and_all_names_are_there():
    names = ("benign", "a class with quite a long name", "empty")
    figure = draw_confusion([[3, 1, 0], [0, 2, 0], [0, 0, 0]], names, "Title", "a note")
    axes = figure.axes[0]
    cells = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert cells[(0, 0)] == "75%\n3" and cells[(1, 0)] == "25%\n1" and cells[(1, 1)] == "100%\n2"  # (column, row)
    assert cells[(2, 2)] == "0"
    rows = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert rows == [f"{name} ({count} tiles)" for name, count in zip(names, (4, 2, 0), strict=True)]
    assert axes.get_xlabel() == "predicted" and axes.get_ylabel() == "true"
    assert figure.get_supxlabel() == "a note"


def test_counts_must_fit_the_names():
    with pytest.raises(InputError, match="2 classes"):
        draw_confusion([[1, 2, 3]], ("a", "b"))
