from __future__ import annotations

import pickle

import numpy as np
import pytest
from monai.transforms import Compose

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.build_transforms import build_transforms
from hmgdm_monai.transforms.quality import REASONS, LeftOutTileError, QualityLimits, TileQuality, TileQualityd
from hmgdm_monai.transforms.quality_scores import QualityScores, quality_scores
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import described, graph_transforms, tile_graph

GOOD = QualityScores(focus=6.0, pen=0.0, fold=0.0, dark=0.0, saturation=0.4)


@pytest.fixture(scope="module")
def tile(stained):
    return np.ascontiguousarray(stained(64, 64).transpose(2, 0, 1))


@pytest.fixture(scope="module")
def inked(tile):
    image = tile.copy()
    image[:, :30] = np.array([40, 70, 190], np.uint8)[:, None, None]
    return image


@pytest.mark.parametrize(
    ("worse", "reason"),
    [
        ({"focus": 2.0}, "blur"),
        ({"pen": 0.2}, "pen"),
        ({"fold": 0.2}, "fold"),
        ({"dark": 0.2}, "dark"),
        ({"focus": 2.0, "pen": 0.2}, "pen"),
        ({"saturation": 1.0}, None),
        ({"focus": float("nan"), "saturation": float("nan")}, None),
        ({}, None),
    ],
)
def test_limits_name_the_first_reason(worse, reason):
    assert QualityLimits().reason(GOOD._replace(**worse)) == reason
    off = QualityLimits(None, None, None, None)
    assert off.reason(GOOD._replace(**worse)) is None


def test_every_limit_has_a_reason():
    strict = QualityLimits(10.0, 0.0, 0.0, 0.0, 0.1)
    bad = {"pen": 0.1, "dark": 0.1, "fold": 0.1, "saturation": 0.2}
    names = {"pen": "pen", "dark": "dark", "fold": "fold", "saturation": "saturated"}
    kept = GOOD._replace(focus=11.0, saturation=0.0)
    found = [strict.reason(kept._replace(**{name: value})) for name, value in bad.items()]
    assert found == list(names.values())
    assert {*found, strict.reason(kept._replace(focus=9.0))} == set(REASONS)


@pytest.mark.parametrize(
    "bad", [{"min_focus": 0}, {"min_focus": float("nan")}, {"max_pen": 1.1}, {"max_fold": -0.1}, {"max_dark": 2}]
)
def test_limits_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        QualityLimits(**bad)


def test_the_step_adds_scores_or_raises_with_them(tile, inked):
    step = TileQualityd("image", QualityLimits(min_focus=None))
    assert step({"image": tile, "mpp": 1.0})["quality"] == quality_scores(tile, 1.0)
    with pytest.raises(LeftOutTileError, match="left out by the quality check: pen") as caught:
        step({"image": inked, "mpp": 1.0})
    assert caught.value.scores == quality_scores(inked, 1.0)
    again = pickle.loads(pickle.dumps(caught.value))  # worker processes
    assert (again.reason, again.scores, str(again)) == ("pen", caught.value.scores, str(caught.value))
    assert TileQuality()(inked).pen > 0.3  # without limits nothing is left out


def test_scores_alone_do_not_change_the_graph(tile):
    plain = graph_transforms(Superpixels(n_segments=12))
    graph, expected = (tile_graph(steps, tile) for steps in (Compose([TileQualityd("image"), plain]), plain))
    assert graph.keys() == expected.keys()
    assert all((graph[key] == expected[key]).all() for key in graph.keys() if key != "mpp")


def test_left_out_tiles_end_the_tile_transforms(inked):
    steps = Compose([TileQualityd("image", QualityLimits()), graph_transforms(Superpixels(n_segments=12))])
    with pytest.raises(LeftOutTileError):
        tile_graph(steps, inked)


def test_limits_are_described_and_built_from_a_model_files_config():
    config = {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": "hmgdm_monai.transforms.quality.TileQualityd",
                "keys": "image",
                "limits": {"_target_": "hmgdm_monai.transforms.quality.QualityLimits", "max_pen": 0.5},
            }
        ],
    }
    built = build_transforms(config)
    assert described(built) == described(Compose([TileQualityd("image", QualityLimits(max_pen=0.5))]))
    assert described(built) != described(Compose([TileQualityd("image", QualityLimits())]))
