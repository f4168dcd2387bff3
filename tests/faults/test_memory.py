"""An image that exceeds the memory, or a process that dies of it, does not end a cohort without a line."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs import Models, write_tiff

from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.processes import run_all

TOLD = "does not fit into memory"


@pytest.fixture
def manifest(tmp_path: Path, stained: Callable[[int, int], np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three slides; finding the tiles of the second takes more memory than there is."""
    for number in range(3):
        write_tiff(tmp_path / f"s{number}.tif", stained(128, 128))
    rows = [f"s{number}.tif,p{number},{'ab'[number % 2]}" for number in range(3)]
    (tmp_path / "m.csv").write_text("\n".join(["image,patient,label", *rows]) + "\n")
    from hmgdm_monai.data.tiles.row_locations import row_locations

    def locations(slide: Any, row: Any, *more: Any) -> Any:
        if row.id == "s1":
            raise MemoryError
        return row_locations(slide, row, *more)

    for place in ("graph_unit", "tile_stream"):
        monkeypatch.setattr(f"hmgdm_monai.preparation.{place}.row_locations", locations)
    return tmp_path / "m.csv"


def test_graphs(manifest: Path, tiny_pretrained: Any, tmp_path: Path) -> None:
    from hmgdm_monai.preparation.cohort import build_graph_stores
    from hmgdm_monai.preparation.recipe import recipe_of

    cohort = build_graph_stores(manifest, tmp_path / "out", recipe_of(tiny_pretrained.run_settings), progress=False)
    assert {row.id for row in cohort.tile_rows} == {"s0", "s2"}
    assert [what for what, why in cohort.skipped if TOLD in why] == ["s1.tif"]


def test_embeddings(manifest: Path, tiny_pretrained: Any, tmp_path: Path) -> None:
    from hmgdm_monai.tasks.inference.embed import embed_slides

    found = embed_slides(tiny_pretrained, manifest, tmp_path / "out", progress=False)
    assert set(found.slides) == {"s0", "s2"} and TOLD in found.skipped["s1"]


def test_evaluation(manifest: Path, models: Models, tmp_path: Path) -> None:
    from hmgdm_monai.saving.classifier_file import load_classifier
    from hmgdm_monai.tasks.tiles.evaluation import ClassifierEvaluation

    data = ClassifierEvaluation(load_classifier(models.classifier), manifest, tmp_path / "out")
    found = [len(data.classify(row, data.classifier.network)) for row in data.rows]
    assert found == [4, 0, 4] and TOLD in data.skipped["s1"]


def _die(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does that has no memory left
    return number


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(InputError, match="one of the 2 processes that prepare images died") as caught:
        list(run_all(_die, [0, 1, 2], num_workers=2))
    assert "\n" not in str(caught.value)
