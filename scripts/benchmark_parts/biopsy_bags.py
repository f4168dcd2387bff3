"""Prostate biopsies as bags: features of all their tiles by several encoders, and one manifest for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_parts.baselines import color_texture, pooled, pooled_latents
from benchmark_parts.representation import ProstateTile
from common.kept import kept
from tqdm import tqdm

FEATURES = {
    "hmgdm": "H-MGDM",
    "backbone_entities": "backbone, entities",
    "backbone_tile": "backbone, tile",
    "color_texture": "color + texture",
}


def biopsies_of(tiles: Sequence[ProstateTile]) -> dict[str, list[ProstateTile]]:
    """Return all tiles of each biopsy, in order.

    Unlabeled tiles belong to the bag, too: they are of the same biopsy. With labeled tiles alone, the size of a bag
    would tell its class, because the data set has 8, 22 and 55 labeled tiles per biopsy of the three classes.
    """
    found: dict[str, list[ProstateTile]] = {}
    for tile in sorted(tiles, key=lambda tile: (tile.biopsy, tile.path.name)):
        found.setdefault(tile.biopsy, []).append(tile)
    return found


def label_of(tiles: Sequence[ProstateTile]) -> str:
    """Return the class of a biopsy.

    Raises:
        ValueError: its labeled tiles have no class, or several.
    """
    labels = {tile.label for tile in tiles if tile.label is not None}
    if len(labels) != 1:
        raise ValueError(f"biopsy {tiles[0].biopsy} has {len(labels)} classes, not one")
    return labels.pop()


def write_bags(tiles: Sequence[ProstateTile], model: Path, folder: Path) -> dict[str, Path]:
    """Write features of all biopsies, and return the manifest of each kind of features.

    Features are computed once for each biopsy; the same call resumes after an interruption.

    Args:
        tiles: tiles of all biopsies.
        model: model file of H-MGDM with a frozen backbone.
        folder: output folder.
    """
    from hmgdm_monai.data.files.csv_text import csv_text
    from hmgdm_monai.data.files.features_file import write_features
    from hmgdm_monai.data.files.safe_name import safe_name
    from hmgdm_monai.data.files.whole_file import write_whole
    from hmgdm_monai.saving.encoder_file import load_encoder

    encoder: Any = load_encoder(model)
    digest, biopsies = encoder.digest(), biopsies_of(tiles)
    rows: dict[str, list[tuple[object, ...]]] = {name: [("image", "patient", "label", "features")] for name in FEATURES}
    for biopsy, theirs in tqdm(biopsies.items(), desc="features", unit="biopsy"):
        key = ["bag of tiles", digest, *(str(tile.path.resolve()) for tile in theirs)]
        found = kept(folder / "computed", key, lambda theirs=theirs: tile_features(encoder, theirs))
        for name, values in found.items():
            path = folder / name / f"{safe_name(biopsy)}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_features(path, values)
            rows[name].append((path.name, biopsy, label_of(theirs), path.name))
    manifests = {name: folder / name / "manifest.csv" for name in FEATURES}
    for name, path in manifests.items():
        write_whole(path, csv_text(rows[name]).encode())
    return manifests


def tile_features(encoder: Any, tiles: Sequence[ProstateTile]) -> Mapping[str, np.ndarray]:
    """Return features (N, D) of tiles by kind.

    Args:
        encoder: H-MGDM with a frozen backbone. Its latents are pooled over entities, and the maps of its backbone over
            the whole tile.
        tiles: N tiles.
    """
    import torch
    from skimage.io import imread
    from torch_geometric.data import Batch

    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.transforms.tile_transforms import image_transforms

    transforms = image_transforms(recipe_of(encoder.run_settings).transforms)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in FEATURES}
    with torch.inference_mode():
        for tile in tiles:
            image = imread(tile.path)[..., :3]  # (S, S, 3)
            planes = np.ascontiguousarray(image.transpose(2, 0, 1))
            latent = encoder.prepare(Batch.from_data_list([encoder.to_sample(planes)]))
            parts["hmgdm"].append(encoder.embed(latent)[0].numpy())
            parts["backbone_entities"].append(pooled_latents([{"vertex_latents": latent.vertex_latents}])[0])
            seen = torch.from_numpy(np.ascontiguousarray(transforms({"image": planes})["image"]))[None]
            maps = [one for backbone in encoder.entities.backbones for one in backbone(seen)]
            parts["backbone_tile"].append(np.concatenate([pooled(one.flatten(2)[0].T.numpy()) for one in maps]))
            parts["color_texture"].append(color_texture(image))
    return {name: np.stack(values).astype(np.float32) for name, values in parts.items()}
