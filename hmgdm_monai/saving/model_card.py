"""The model card, as Markdown with a YAML header: what the model is, which tiles it needs, its training data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_TOLD = (
    "Not stated by the person who exported the model. Ask them before you use it: the training data decide where the "
    "model is valid, and who may use it."
)
_METHODS = {
    "hmgdm": (
        "H-MGDM: the tile is cut into superpixels. A frozen backbone describes each superpixel and each pair of "
        "touching superpixels. The graph encoder was trained without labels by diffusion on the masked part of the "
        "graph.",
        "Zhuang et al. Dynamic Entity-Masked Graph Diffusion Model for Histopathological Image Representation "
        "Learning. AAAI 2025. https://arxiv.org/abs/2412.10482",
        "graph-neural-network",
    ),
    "vit": (
        "A vision transformer, trained without labels.",
        "Kapse et al. Attention De-sparsification Matters: Inducing Diversity in Digital Pathology Representation "
        "Learning. Medical Image Analysis. https://arxiv.org/abs/2309.06439",
        "vision-transformer",
    ),
}
_SIDE = "side of a tile, px"
_CODE = """```python
import torch

from hmgdm_monai.saving.hub import from_pretrained

encoder = from_pretrained("path/of/this/folder")
tiles = torch.rand(1, 3, {size}, {size}) * 255  # RGB, values 0 to 255
with torch.inference_mode():
    embeddings = encoder(tiles)  # a row for each tile
```"""


def model_card(
    config: Mapping[str, Any], weight_bytes: int, name: str, data_statement: str | None, license: str | None
) -> str:
    """Return the text of the card.

    Args:
        config: config of :func:`hmgdm_monai.saving.hub.save_pretrained`.
        weight_bytes: size of the file of weights in bytes.
        name: name of the model.
        data_statement: what the model was trained on and who may use it, in Markdown; None if not stated.
        license: license identifier; None for "unknown".
    """
    from huggingface_hub import ModelCardData

    method, reference, tag = _METHODS.get(
        config["kind"], (f"An encoder of kind {config['kind']}.", None, config["kind"])
    )
    front = ModelCardData(
        license=license or "unknown",
        library_name=config["library_name"],
        pipeline_tag="image-feature-extraction",
        tags=["medical", "pathology", "histopathology", "self-supervised-learning", "monai", tag],
    )
    about = _about_tiles(config["run_settings"].get("recipe") or {})
    tiles = [f"| {what} | `{value}` |" for what, value in about.items() if value is not None]
    parts = [
        f"---\n{front.to_yaml()}\n---",
        f"# {name}",
        f"Embeddings of H&E-stained tiles of tissue. {method}",
        "For research only. Not a medical device, and not for diagnosis or any clinical decision.",
        "## Tiles",
        "Tiles must have the scale of the training tiles.",
        "\n".join(["| | |", "|---|---|", *tiles]),
        "## Use",
        f"Install {config['library_name']} {config['library_version']} and download this folder. The following code "
        "needs no network connection:",
        _CODE.format(size=int(about[_SIDE] or 256)),
        "## Training data",
        data_statement or _NOT_TOLD,
        "## Limits",
        "A representation learned on one organ, stain or scanner may not work on another. This card says nothing about "
        "the model's performance.",
        "## Files",
        "`config.json`: settings from which the networks are built. "
        f"`model.safetensors`: {weight_bytes / 1e6:.1f} MB of weights; no pickle file is read.",
    ]
    if reference is not None:
        parts += ["## Citation", reference]
    return "\n\n".join(parts) + "\n"


def _about_tiles(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of the tiles in a recipe, by description; None for a property that is not set."""
    spec = recipe.get("tile_spec") or {}
    steps = (recipe.get("transforms") or {}).get("transforms", [])
    named = {str(step.get("_target_")).rsplit(".", 1)[-1]: step for step in steps}
    return {
        _SIDE: spec.get("size_px"),
        "microns per pixel": spec.get("mpp"),
        "stain normalization": named.get("NormalizeStaind", {}).get("method"),
        "superpixels a tile, about": named.get("CutEntitiesd", {}).get("cutter", {}).get("n_segments"),
    }
