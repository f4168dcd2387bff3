"""Where attention falls in images with outlined nuclei: attention mass on nuclei, divided by their area.

    python scripts/benchmark_parts/nuclei_attention.py --gate runs/.../classifier_fold*.pt --vit runs/.../model.pt

A gate comes from a fine-tuned classifier of H-MGDM and was trained with labels. The attention of a ViT is that of its
class token.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark_parts.cell_prior import nuclei_images
from benchmark_parts.common import one_thread, real_data_folder

from hmgdm_monai.errors import InputError, one_line_errors

TILE_PX = 256
FIELD_UM = 250.0  # side of an image: 1000 px at 0.25 um per pixel


def shrunk(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a whole image (3, H, W) uint8 as one tile, and the nucleus fraction (S, S) of each of its pixels."""
    from skimage.transform import resize

    size = (TILE_PX, TILE_PX)
    tile = resize(image.transpose(1, 2, 0) / 255.0, size, order=1, anti_aliasing=True)
    nuclei = resize((labels > 0).astype(float), size, order=1, anti_aliasing=True)
    return np.rint(255 * tile).astype(np.uint8), nuclei.clip(0, 1)


def mass_over_area(density: np.ndarray, share: np.ndarray) -> float:
    """Return the attention mass on nuclei divided by their area; 1 means no preference.

    Args:
        density: (S, S), attention of each pixel, on any scale.
        share: (S, S) in [0, 1], nucleus fraction of each pixel.
    """
    import torch

    from hmgdm_monai.metrics.attention import region_mass_ratio

    weights, shares = (torch.from_numpy(np.asarray(values, dtype=float).ravel()) for values in (density, share))
    return float(region_mass_ratio(weights[None, None], shares[None, :, None]))


def gate_map(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from a tile (S, S, 3) to the gate's weight of each pixel; 1 is an even share of the area."""
    import torch

    from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
    from hmgdm_monai.saving.classifier_file import load_classifier

    network = load_classifier(path).network
    if not isinstance(network, GatedTileClassifier):
        raise InputError(f"{path}: has no gate; give a classifier of mode finetune")

    def paint(tile: np.ndarray) -> np.ndarray:
        planes = np.ascontiguousarray(tile.transpose(2, 0, 1))
        sample = network.encoder.to_sample(planes, keep_label_map=True)
        superpixels = sample.label_map[0].long()
        with torch.inference_mode():
            weights = network.attention(network.encoder.prepare(sample))
        areas = torch.bincount(superpixels.flatten(), minlength=len(weights))
        return (weights / (areas / areas.sum()))[superpixels].numpy()

    return paint


def vit_map(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the same function for a ViT's class token, averaged over heads."""
    import torch

    from hmgdm_monai.saving.encoder_file import load_encoder

    encoder = load_encoder(path)

    def paint(tile: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(tile.transpose(2, 0, 1).copy())[None].float()
            attention = encoder.attention(encoder.prepare(encoder.samples(batch))).mean(1)[0]
        side = int(len(attention) ** 0.5)
        return np.kron((attention * len(attention)).reshape(side, side).numpy(), np.ones((TILE_PX // side,) * 2))

    return paint


def measure(
    painters: Mapping[str, Sequence[Callable[[np.ndarray], np.ndarray]]], tiles: Mapping[str, tuple]
) -> tuple[list[str], dict[str, list[np.ndarray]]]:
    """Return the rows of a markdown table, and the mean map of each kind of attention on each tile."""
    lines = [f"| attention | {' | '.join(tiles)} | mean |", f"|---{'|---' * len(tiles)}|---|"]
    lines.append(f"| area of nuclei | {' | '.join(f'{share.mean():.3f}' for _, share in tiles.values())} | |")
    maps = {}
    for name, several in painters.items():
        painted = [[paint(tile) for paint in several] for tile, _ in tiles.values()]
        pairs = zip(painted, tiles.values(), strict=True)
        ratios = np.array([[mass_over_area(one, share) for one in ones] for ones, (_, share) in pairs])
        cells = [f"{row.mean():.2f}{_spread(row)}" for row in ratios]
        lines.append(f"| {name} | {' | '.join(cells)} | {ratios.mean():.2f}{_spread(ratios.mean(0))} |")
        maps[name] = [np.mean(ones, axis=0) for ones in painted]
    return lines, maps


def main(gates: Sequence[Path], vits: Sequence[Path], output: Path) -> None:
    """Measure, print, and draw the maps side by side."""
    from hmgdm_monai.visualize.attention import draw_attention
    from hmgdm_monai.visualize.save import save_figure

    tiles = {name[:12]: shrunk(*pair) for name, pair in nuclei_images(real_data_folder()).items()}
    painters = {"H-MGDM's gate": [gate_map(path) for path in gates], "ViT's class token": [vit_map(p) for p in vits]}
    with one_thread():
        lines, maps = measure({name: several for name, several in painters.items() if several}, tiles)
    print("\n".join(lines))
    print(f"mass on nuclei over their area; ± over {len(gates)} gates and {len(vits)} ViTs")
    outlined = {"nuclei, annotated": [3.0 * share for _, share in tiles.values()], **maps}
    labels = [f"{name}, {FIELD_UM:g} um" for name in tiles]
    figure = draw_attention([tile for tile, _ in tiles.values()], outlined, "Attention and nuclei", labels)
    save_figure(figure, output)
    print(output)


def _spread(values: np.ndarray) -> str:
    return f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gate", type=Path, nargs="*", default=[], help="classifiers of classify.json, mode finetune")
    parser.add_argument("--vit", type=Path, nargs="*", default=[], help="model.pt of dirl.json or a baseline over it")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark/nuclei_attention.png"))
    given = parser.parse_args()
    one_line_errors()
    main(given.gate, given.vit, given.output)
