"""The card of a model: what it is, what tiles it wants, what it was trained on, in Markdown with YAML before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_TOLD = (
    "Not told by whoever exported the model. Ask them before you use it: what a model was trained on decides where it "
    "holds, and who may use it."
)
_METHODS = {
    "hmgdm": (
        "H-MGDM: the tile is cut into superpixels; a frozen backbone describes each and each pair that touches; "
        "the encoder of that graph was trained without labels by diffusion on the masked part of the graph.",
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
    """Text of the card.

    Args:
        config: of :func:`hmgdm_monai.saving.hub.save_pretrained`.
        weight_bytes: size of the file of weights.
        name: of the model.
        data_statement: see there.
        license: see there.
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
        "Tiles must come at the scale that the model was trained at.",
        "\n".join(["| | |", "|---|---|", *tiles]),
        "## Use",
        "Download this folder, then, with "
        f"{config['library_name']} {config['library_version']} installed and without a network:",
        _CODE.format(size=int(about[_SIDE] or 256)),
        "## Training data",
        data_statement or _NOT_TOLD,
        "## Limits",
        "A representation learned on one organ, stain or scanner may not carry over to another. Nothing about the "
        "model's performance follows from this card.",
        "## Files",
        "`config.json`: settings from which the networks are built. "
        f"`model.safetensors`: {weight_bytes / 1e6:.1f} MB of weights; no pickle is read.",
    ]
    if reference is not None:
        parts += ["## Citation", reference]
    return "\n\n".join(parts) + "\n"


def _about_tiles(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says of the tiles, by what it is; None where it does not say."""
    spec = recipe.get("tile_spec") or {}
    steps = (recipe.get("transforms") or {}).get("transforms", [])
    named = {str(step.get("_target_")).rsplit(".", 1)[-1]: step for step in steps}
    return {
        _SIDE: spec.get("size_px"),
        "microns per pixel": spec.get("mpp"),
        "stain normalization": named.get("NormalizeStaind", {}).get("method"),
        "superpixels a tile, about": named.get("CutEntitiesd", {}).get("cutter", {}).get("n_segments"),
    }
