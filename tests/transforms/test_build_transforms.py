"""Transforms from a model file: built from plain data, and nothing else than transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import Compose
from recipes import recipe_settings

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.build_transforms import build_transforms
from hmgdm_monai.transforms.cut_entities import CutEntitiesd
from hmgdm_monai.transforms.squares import Squares
from hmgdm_monai.transforms.stain import NormalizeStaind

DARK = {"_target_": "users_parts.Darkend", "keys": "image", "share": 0.5}


def compose(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(steps)}


def test_the_way_of_a_tile_is_built_with_all_its_arguments() -> None:
    cutter = {"_target_": "hmgdm_monai.transforms.build_cutter.build_cutter", "entity_kind": "squares", "n_segments": 9}
    built = build_transforms(recipe_settings(stain="macenko", cutter=cutter)["transforms"])
    normalize, cut, _ = built.transforms
    assert isinstance(normalize, NormalizeStaind) and normalize.normalize.method == "macenko"
    assert isinstance(cut, CutEntitiesd) and isinstance(cut.cutter, Squares) and cut.cutter.n_segments == 9


def test_transforms_of_monai_are_known_by_their_short_and_long_names() -> None:
    steps = ({"_target_": name, "keys": "image", "spatial_axis": 0} for name in ("Flipd", "monai.transforms.Flipd"))
    built = build_transforms(compose(*steps))
    image = np.arange(12).reshape(3, 2, 2)
    assert isinstance(built, Compose) and len(built) == 2
    assert np.array_equal(built({"image": image})["image"], image)  # flipped there and back


def test_a_transform_of_another_package_is_built_where_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HMGDM_TRUSTED_PACKAGES", raising=False)
    with pytest.raises(InputError, match="HMGDM_TRUSTED_PACKAGES=users_parts") as told:
        build_transforms(compose(DARK))
    assert "\n" not in str(told.value)
    monkeypatch.setenv("HMGDM_TRUSTED_PACKAGES", "another, users_parts")
    darkened = build_transforms(compose(DARK))({"image": np.full((3, 2, 2), 200, np.uint8)})["image"]
    assert (darkened == 100).all()


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ({"_target_": "os.system", "command": "touch {mark}"}, "os.system is neither MONAI's nor ours"),
        ({"_target_": "LoadImage", "reader": "os.system", "command": "touch {mark}"}, "reads or writes files"),
        ({"_target_": "SaveImaged", "keys": "image", "output_dir": "{mark}"}, "reads or writes files"),
        ({"_target_": "eval", "source": "1"}, "no transform 'eval'"),
        ({"_target_": "monai.transforms.utils"}, "no transform 'utils'"),
        ({"_target_": "monai.bundle.run"}, "neither MONAI's nor ours"),
        ({"_target_": "hmgdm_monai.transforms.build_transforms.importlib"}, "not a transform of this package"),
        ({"_target_": "hmgdm_monai.saving.encoder_file.load_encoder", "path": "x"}, "neither MONAI's nor ours"),
        ({"_target_": "hmgdm_monai.transforms.squares.Circles"}, "cannot be found"),
        ({"_target_": "hmgdm_monai.transforms.circles.Circles"}, "cannot be found"),
        ({"_target_": "Flipd", "keys": "image", "axes": 0}, "does not take these arguments"),
    ],
)
def test_what_is_no_transform_is_refused_and_never_runs(step: dict[str, Any], told: str, tmp_path: Path) -> None:
    mark = tmp_path / "it_ran"
    step = {name: value.format(mark=mark) if isinstance(value, str) else value for name, value in step.items()}
    with pytest.raises(InputError) as caught:
        build_transforms(compose(step))
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert not mark.exists()


def test_expressions_and_references_stay_words() -> None:
    with pytest.raises(InputError, match="no method '\\$1/0'"):
        build_transforms(
            compose({"_target_": "hmgdm_monai.transforms.stain.NormalizeStaind", "keys": "image"} | {"method": "$1/0"})
        )


def test_another_root_than_a_compose_is_refused() -> None:
    with pytest.raises(InputError, match="must be a Compose, not Flipd"):
        build_transforms({"_target_": "Flipd", "keys": "image"})
