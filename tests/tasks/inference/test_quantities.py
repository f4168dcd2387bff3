from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.inference.quantities import present, principal_axis


def test_the_principal_axis_spans_all_slides_and_its_largest_entry_is_positive(tmp_path: Path) -> None:
    direction = np.array([0.6, -0.8, 0.0])
    steps = np.linspace(-1, 1, 10)
    for name, part in (("a.h5", steps[:5]), ("b.h5", steps[5:])):
        write_features(tmp_path / name, (1 + part[:, None] * direction).astype(np.float32))
    mean, axis = principal_axis([tmp_path / "a.h5", tmp_path / "b.h5"])
    assert mean == pytest.approx([1, 1, 1], abs=1e-6)
    assert axis == pytest.approx(-direction, abs=1e-5)


def test_a_missing_data_set_is_named_with_its_file() -> None:
    assert present(np.ones(2), Path("a.h5"), "coords").sum() == 2
    with pytest.raises(InputError, match=r"a\.h5: has no coords"):
        present(None, Path("a.h5"), "coords")
