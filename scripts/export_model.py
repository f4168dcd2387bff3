"""Export a classifier to TorchScript, torch.export and ONNX, and compare each file with PyTorch.

python scripts/export_model.py --classifier runs/classification/finetune/checkpoints/classifier_fold0.pt \
    --output exported --tiles tile_a.png tile_b.png

With an encoder of entity graphs, the inputs of the exported network are a tile and its entities: label map, edges and
positions. docs/distribution.md explains this and lists encoders that cannot be exported. ONNX needs an extra package:
pip install -c constraints.txt -e '.[export]'.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.saving.classifier_file import load_classifier
from hmgdm_monai.saving.export import FORMATS, export, exportable, load_exported

TOLERANCE = 1e-4


def read_tiles(paths: list[Path], side_px: int) -> list[torch.Tensor]:
    """Read tiles (3, S, S) uint8 from image files; without files, draw three tiles.

    Args:
        paths: image files.
        side_px: S.

    Raises:
        InputError: a file is not an RGB image of this size.
    """
    from skimage.io import imread

    if not paths:
        rng = np.random.default_rng(0)
        drawn = [np.repeat(np.repeat(rng.integers(60, 256, (3, side_px, side_px)), n, 1), n, 2) for n in (8, 16, 32)]
        return [torch.from_numpy(tile[:, :side_px, :side_px].astype(np.uint8)) for tile in drawn]
    tiles = []
    for path in paths:
        try:
            image = imread(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as an image ({error})") from None
        if image.shape[:2] != (side_px, side_px) or image.ndim != 3:
            raise InputError(f"{path}: is of {image.shape}, but the model takes RGB tiles of {side_px} x {side_px} px")
        tiles.append(torch.from_numpy(image[..., :3].transpose(2, 0, 1).copy()))
    return tiles


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and export.

    Returns:
        2 on bad input, 1 if the outputs of a file differ from PyTorch, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", type=Path, required=True, help="classifier_fold*.pt of a run of classify.json")
    parser.add_argument("--output", type=Path, default=Path("exported"), help="folder (default: %(default)s)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="(default: all)")
    parser.add_argument(
        "--tiles", type=Path, nargs="+", default=[], help="images for the comparison, of the model's tile size"
    )
    given = parser.parse_args(arguments)
    try:
        return run(given.classifier, given.output, given.formats, given.tiles)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def seconds_each(call: Callable[[tuple[torch.Tensor, ...]], torch.Tensor], inputs: list) -> float:
    """Return the seconds per input: the shortest of three rounds, after a warm-up round."""
    rounds = []
    for _ in range(4):
        start = time.perf_counter()
        for one in inputs:
            call(one)
        rounds.append((time.perf_counter() - start) / len(inputs))
    return min(rounds[1:])


def run(path: Path, output: Path, formats: list[str], tile_paths: list[Path]) -> int:
    """Export to each format, compare with PyTorch, and print the results."""
    classifier = load_classifier(path)
    network = exportable(classifier.network)
    tiles = read_tiles(tile_paths, int(classifier.run_settings["recipe"]["tile_spec"]["size_px"]))
    output.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        expected = [classifier.network(tile[None].float()) for tile in tiles]
    print(f"inputs: {', '.join(network.input_names)}; classes: {', '.join(classifier.classes)}")
    inputs = [network.inputs(tile) for tile in tiles]
    with torch.inference_mode():
        ours = seconds_each(lambda one: network(*one), inputs)
    print(f"PyTorch: {1000 * ours:.1f} ms per tile, without making its inputs")
    worst_of_all = 0.0
    for kind in formats:
        target = output / f"classifier.{kind}"
        try:
            export(network, tiles[0], target)
            loaded = load_exported(target)
        except ImportError as error:
            raise InputError(f"{kind}: {error}; pip install -c constraints.txt -e '.[export]'") from None
        worst = max(float((loaded(a) - b).abs().max()) for a, b in zip(inputs, expected, strict=True))
        worst_of_all = max(worst, worst_of_all)
        size, ratio = target.stat().st_size / 2**20, seconds_each(loaded, inputs) / ours
        print(
            f"{target}: {size:.1f} MB, largest difference {worst:.1e} on {len(tiles)} tiles, {ratio:.2f} of PyTorch's "
            "time"
        )
    if worst_of_all > TOLERANCE:
        print(f"error: difference {worst_of_all:.1e} above {TOLERANCE}; do not use these files", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
