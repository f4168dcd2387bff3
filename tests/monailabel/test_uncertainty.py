from __future__ import annotations

import numpy as np
import pytest
from lib.uncertainty import MEASURES, uncertainty

from hmgdm_monai.errors import InputError


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_from_sure_to_undecided(measure, classes):
    sure, undecided = np.eye(classes)[:1], np.full((1, classes), 1 / classes)
    some = np.random.default_rng(0).dirichlet(np.ones(classes), 50)
    values = uncertainty(np.concatenate((sure, undecided, some)), measure)
    assert values[0] == 0
    assert values[1] == pytest.approx(1)
    assert ((values[2:] > 0) & (values[2:] < 1)).all()
    np.testing.assert_allclose(uncertainty(some[:, ::-1], measure), values[2:])  # names of classes do not matter


def test_values_by_hand():
    p = np.array([[0.5, 0.25, 0.25]])
    assert uncertainty(p, "entropy")[0] == pytest.approx(1.5 * np.log(2) / np.log(3))
    assert uncertainty(p, "margin")[0] == pytest.approx(0.75)


def test_one_class_is_never_in_doubt_and_an_unknown_measure_is_refused():
    assert uncertainty(np.ones((3, 1))).tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="no measure 'variance'; choose one of entropy, margin"):
        uncertainty(np.ones((3, 1)), "variance")
