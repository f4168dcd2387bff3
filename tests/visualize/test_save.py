"""Figures come to stand whole, under their name, or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.save import save_figure


def test_writes_a_png_of_the_right_size_in_a_new_folder(tmp_path: Path) -> None:
    path = save_figure(Figure(figsize=(2, 1)), tmp_path / "new" / "folder" / "figure.png", dpi=100)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (200, 100)
        assert np.asarray(image.convert("RGB")).min() == 255  # an empty figure is white
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_figure(Figure(figsize=(1, 1)), str(tmp_path / "figure.png"))
    before = path.read_bytes()

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_figure(Figure(figsize=(2, 2)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    save_figure(Figure(figsize=(1, 1)), path)
    with Image.open(path) as image:
        assert image.size == (150, 150)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"figure\.pdf.*\.png"):
        save_figure(Figure(), tmp_path / "figure.pdf")
    assert list(tmp_path.iterdir()) == []


def test_names_with_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    from hmgdm_monai.visualize.confusion import draw_confusion
    from hmgdm_monai.visualize.projection import draw_projection

    names = [r"$\foo$ <5", "$a_{$", "plain"]
    save_figure(draw_confusion(np.eye(3, dtype=int), names, names[0], names[1]), tmp_path / "confusion.png")
    points = np.arange(24.0).reshape(12, 2)
    save_figure(draw_projection(points, names[0], 4 * names, "tsne", names[1], names[0]), tmp_path / "projection.png")
