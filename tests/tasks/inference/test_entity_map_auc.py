from __future__ import annotations

import pytest
from benchmark_parts.entity_map_auc import LEARNED, map_aucs


@pytest.mark.slow
def test_superpixels_find_the_tissue_behind_a_label_better_than_tiles(tmp_path):
    """On slides of patients that were not trained on; the grade of a slide is all that the first model learned from."""
    for name, found in map_aucs(tmp_path, n_patients=12, learned=LEARNED[:1]).items():
        assert found["superpixel"] > 0.9 and found["superpixel, overlap"] > 0.9, name
        assert found["tile"] < min(found["superpixel"], found["superpixel, overlap"]), name
