"""The Python of docs/monai.md runs as it stands, and its table names what a description holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hmgdm_monai.data.files.json_tensor import tensor_to_json

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/monai.md").read_text()


def test_its_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_tiff: Callable, stained: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").symlink_to(ROOT / "bundle")
    fine = stained(1024, 1024)
    write_tiff(tmp_path / "slide.svs", [fine, np.ascontiguousarray(fine[::2, ::2])])
    names: dict = {}
    weights, slides = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(weights, names)
    exec(slides, names)
    assert names["image"].shape == (3, 128, 128)
    assert len(names["patches"]) == 4 and names["patches"][3]["image"].shape == (3, 256, 256)


def test_its_table_is_the_description(tiny_model: Path) -> None:
    told = tensor_to_json(torch.load(tiny_model, weights_only=True)["_extra_state"])
    for name in told:
        assert f"`{name}`" in PAGE, name
