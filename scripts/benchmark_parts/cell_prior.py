"""How well the default cell prior finds real nuclei, compared with Otsu's threshold, and its time relative to slic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmark_parts.common import need, one_thread, prostate_tiles, real_data_folder, spread, time_in_turns

FINEST_MPP = 0.25
FACTORS = (1, 2, 4)  # factors that reduce the resolution of the images
TILES, REPEATS = 12, 5


def otsu(image: np.ndarray) -> np.ndarray:
    """Return the connected components (H, W) of Otsu's threshold on hematoxylin, for a tile (3, H, W) uint8."""
    from scipy.ndimage import label
    from skimage.filters import threshold_otsu

    from hmgdm_monai.transforms.nuclei import hematoxylin

    stain = hematoxylin(image.transpose(1, 2, 0))
    return label(stain > threshold_otsu(stain))[0]


def smoothed_otsu(image: np.ndarray, mpp: float) -> np.ndarray:
    """Like :func:`otsu`, with the blur and the size limits of the prior, to show what these alone contribute."""
    from scipy.ndimage import gaussian_filter, label
    from skimage.filters import threshold_otsu

    from hmgdm_monai.transforms.nuclei import SegmentNuclei, hematoxylin

    settings = SegmentNuclei().settings()
    stain = gaussian_filter(hematoxylin(image.transpose(1, 2, 0)), settings["sigma_um"] / mpp)
    pieces = label(stain > threshold_otsu(stain))[0]
    area_um2 = np.bincount(pieces.ravel()) * mpp**2
    kept = (area_um2 >= settings["min_area_um2"]) & (area_um2 <= settings["max_area_um2"])
    return np.where(kept[pieces], pieces, 0)


def coarser(image: np.ndarray, labels: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the image (3, H, W), averaged over squares of pixels, and the labels (H, W) of the nearest neighbors."""
    height, width = (side // factor for side in labels.shape)
    squares = image[:, : height * factor, : width * factor].reshape(3, height, factor, width, factor)
    small = np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)
    return small, labels[factor // 2 :: factor, factor // 2 :: factor][:height, :width]


def nuclei_images(data: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return name -> image (3, H, W) uint8 and instance labels (H, W), at 0.25 um per pixel."""
    from skimage.io import imread

    folder = need(data / "nuclei")
    return {
        path.stem: (
            np.ascontiguousarray(imread(path)[..., :3].transpose(2, 0, 1)),
            imread(folder / "labels" / f"{path.stem}.png").astype(np.int32),
        )
        for path in sorted((folder / "images").glob("*.tif"))
    }


def measure_quality(data: Path) -> list[str]:
    """Return the rows of a markdown table: mean and range over images, by scale and method."""
    from hmgdm_monai.metrics.instance_segmentation import instance_scores
    from hmgdm_monai.transforms.nuclei import SegmentNuclei

    segment, images = SegmentNuclei(), nuclei_images(data)
    rows = [
        f"| um/px | method ({len(images)} images) | F1 at IoU 0.5 | Dice | AJI | objects found / annotated |",
        "|---|---|---|---|---|---|",
    ]
    for factor in FACTORS:
        mpp = FINEST_MPP * factor
        methods: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "default prior": lambda image, mpp=mpp: segment(image, mpp)[0],
            "Otsu": otsu,
            "Otsu, smoothed, size limits": lambda image, mpp=mpp: smoothed_otsu(image, mpp),
        }
        for name, method in methods.items():
            pairs = [coarser(image, labels, factor) for image, labels in images.values()]
            scores = [instance_scores(method(image), labels) for image, labels in pairs]
            columns = [
                f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
                for values in ([getattr(score, what) for score in scores] for what in ("f1", "dice", "aji"))
            ]
            counts = f"{sum(score.predicted for score in scores)} / {sum(score.annotated for score in scores)}"
            rows.append(f"| {mpp:g} | {name} | {' | '.join(columns)} | {counts} |")
    return rows


def measure_time(data: Path) -> list[str]:
    """Return lines with the time of the prior relative to scikit-image's slic on the same tile, measured alternately.

    Both run on one thread.
    """
    from skimage.io import imread
    from skimage.segmentation import slic
    from threadpoolctl import threadpool_limits

    from hmgdm_monai.transforms.cell_prior import NucleusPrior
    from hmgdm_monai.transforms.nuclei import SegmentNuclei

    segment, prior = SegmentNuclei(), NucleusPrior()
    ratios: dict[str, list[np.ndarray]] = {"nuclei": [], "region map": []}
    milliseconds: dict[str, list[np.ndarray]] = {"nuclei": [], "region map": [], "slic": []}
    with one_thread(), threadpool_limits(1):
        for path in prostate_tiles(data, TILES):
            image = imread(path)[..., :3]
            first = np.ascontiguousarray(image.transpose(2, 0, 1))
            work = {
                "nuclei": lambda first=first: segment(first, 1.0),
                "region map": lambda first=first: prior(first, mpp=1.0),
                "slic": lambda image=image: slic(image, n_segments=50, compactness=20, sigma=1),
            }
            seconds = time_in_turns(work, REPEATS)
            for name, values in seconds.items():
                milliseconds[name].append(1e3 * values)
                if name != "slic":
                    ratios[name].append(values / seconds["slic"])
    lines = [
        f"{TILES} prostate tiles of 256 px at 1 um x {REPEATS} turns, one thread, median (10th to 90th percentile):"
    ]
    for name, values in ratios.items():
        lines.append(
            f"{name}: {spread(np.concatenate(milliseconds[name]), 1)} ms, slic "
            f"{spread(np.concatenate(milliseconds['slic']), 1)} ms, ratio {spread(np.concatenate(values), 3)}"
        )
    return lines


def main() -> None:
    """Print the table and the ratios."""
    data = real_data_folder()
    print("\n".join(measure_quality(data)), flush=True)
    print()
    print("\n".join(measure_time(data)), flush=True)
