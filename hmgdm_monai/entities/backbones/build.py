"""Build backbones by name or settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hmgdm_monai.entities.backbones.backbone import Backbone
from hmgdm_monai.entities.backbones.efficientnet_lite0 import EfficientNetLite0
from hmgdm_monai.entities.backbones.exported_file import EXPORTED_SUFFIXES
from hmgdm_monai.entities.backbones.published_backbone import PublishedBackbone
from hmgdm_monai.entities.backbones.segresnet_he import SegResNetHE
from hmgdm_monai.errors import InputError

BackboneSettings = str | Mapping[str, Any]

# Small backbones, whose weights model.pt contains.
EMBEDDED: dict[str, Callable[..., PublishedBackbone]] = {
    "efficientnet_lite0": EfficientNetLite0,
    "segresnet_he": SegResNetHE,
}


def build_backbone(settings: BackboneSettings, published: bool = True) -> Backbone:
    """Build a backbone.

    Args:
        settings: its name, or a mapping with ``name`` and more arguments of its class, for example
            ``{"name": "efficientnet_lite0", "blocks": [7, 10], "resize_px": 512}``. A name is one of ``EMBEDDED``; the
            path of an exported file (``.onnx``, ``.pt2``, ``.pt``, ``.ts``); or a folder or hub name for
            ``transformers.AutoModel``.
        published: whether to load the published weights of an embedded backbone.

    Raises:
        InputError: there is no name, its class does not have an argument, or the backbone is not available.
    """
    arguments = {"name": settings} if isinstance(settings, str) else dict(settings)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or not name:
        raise InputError(f"a backbone needs a name, got {settings!r}")
    try:
        if name in EMBEDDED:
            backbone = EMBEDDED[name](**arguments)
            return backbone.load_published() if published else backbone
        # The weights of other backbones are in files and are read even if the network around it is built on the meta
        # device to determine its size.
        with torch.device("cpu"):
            return _external(name, arguments)
    except TypeError as error:
        reason = str(error).split(") ", 1)[-1].removeprefix("__init__() ")
        raise InputError(f"backbone {name}: {reason}; check its settings") from None


def _external(name: str, arguments: Mapping[str, Any]) -> Backbone:
    if Path(name).suffix in EXPORTED_SUFFIXES:
        from hmgdm_monai.entities.backbones.exported_backbone import ExportedBackbone

        return ExportedBackbone(name, **arguments)
    if "/" not in name and not Path(name).is_dir():
        raise InputError(
            f"there is no backbone {name!r}; give {', '.join(EMBEDDED)}, the path of an exported file "
            f"({', '.join(EXPORTED_SUFFIXES)}), a folder, or a name on the hub (owner/name)"
        )
    from hmgdm_monai.entities.backbones.transformers_backbone import TransformersBackbone

    return TransformersBackbone(name, **arguments)
