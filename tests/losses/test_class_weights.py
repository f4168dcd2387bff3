from __future__ import annotations

import numpy as np
import pytest

from hmgdm_monai.losses.class_weights import class_weights


def test_closed_form():
    labels = np.repeat([0, 1, 2], [6, 3, 1])
    weights = class_weights(labels, 3)
    assert weights.numpy() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert weights[labels].mean().item() == pytest.approx(1.0)
    shares = [weights[labels][labels == k].sum().item() for k in range(3)]
    assert shares == pytest.approx([10 / 3] * 3)  # every class has the same say


def test_a_class_without_labels_has_no_weight():
    with pytest.raises(ValueError, match="no label of class 1"):
        class_weights(np.array([0, 0, 2]), 3)
