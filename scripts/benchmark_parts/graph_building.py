"""Time to build an entity graph, compared with scikit-image's SLIC alone on the same tiles."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def measure_graph_building(images: Sequence[np.ndarray], repeats: int = 5) -> dict[str, float]:
    """Time the whole graph (superpixels, adjacency, EntityGraph) and scikit-image's ``slic`` alternately.

    Both run on the calling thread with the same settings (50 segments, compactness 20, sigma 1, 10 iterations),
    alternating tile by tile, so that a slow moment of the machine affects both. Compilation happens before the
    measurement.

    Args:
        images: tiles (H, W, 3) uint8 of the same size.
        repeats: number of measurements per tile.

    Returns:
        Milliseconds per tile, ``graph_ms`` and ``reference_ms``, and ``ratio`` = graph / reference of the same pair:
        the median under this name, the 10th and 90th percentile with ``_p10`` and ``_p90``; ``ratio_of_medians``; and
        ``tiles``, ``size_px``, ``repeats``, ``vertices`` and ``edges`` (means).
    """
    import torch
    from skimage.segmentation import slic

    from hmgdm_monai.transforms.entity_graph import BuildEntityGraph
    from hmgdm_monai.transforms.superpixels import Superpixels

    superpixels, build = Superpixels(), BuildEntityGraph()
    channels_first = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        graphs = [build(image, superpixels(image)) for image in channels_first]
        graph_s, reference_s = [], []
        for _ in range(repeats):
            for image, image_first in zip(images, channels_first, strict=True):
                start = time.perf_counter()
                build(image_first, superpixels(image_first))
                middle = time.perf_counter()
                slic(image, n_segments=50, compactness=20, sigma=1, max_num_iter=10, start_label=0)
                graph_s.append(middle - start)
                reference_s.append(time.perf_counter() - middle)
    finally:
        torch.set_num_threads(threads)
    result = {
        "tiles": len(images),
        "size_px": images[0].shape[0],
        "repeats": repeats,
        "vertices": float(np.mean([g.num_vertices for g in graphs])),
        "edges": float(np.mean([g.edge_index.shape[1] for g in graphs])),
        "ratio_of_medians": float(np.median(graph_s) / np.median(reference_s)),
    }
    graph_ms, reference_ms = 1e3 * np.array(graph_s), 1e3 * np.array(reference_s)
    for name, values in (("graph_ms", graph_ms), ("reference_ms", reference_ms), ("ratio", graph_ms / reference_ms)):
        for suffix, percent in (("_p10", 10), ("", 50), ("_p90", 90)):
            result[name + suffix] = float(np.percentile(values, percent))
    return result


def load_tiles(data: Path, count: int) -> dict[str, list[np.ndarray]]:
    """Return real tiles from a folder: 256 px prostate tiles, and 512 px crops of the nuclei images.

    If the folder does not exist, crops of a stained tile of scikit-image are used.
    """
    from skimage.io import imread

    prostate = sorted((data / "prostate_gleason" / "labelled").glob("*/*.jp*g"))
    nuclei = sorted((data / "nuclei" / "images").glob("*"))
    if not prostate or not nuclei:
        from skimage.data import immunohistochemistry

        image = immunohistochemistry()
        quarters = [image[i : i + 256, j : j + 256] for i in (0, 256) for j in (0, 256)]
        return {"256 px (skimage.data.immunohistochemistry)": quarters, "512 px (the same)": [image]}
    crops = [
        np.ascontiguousarray(image[i : i + 512, j : j + 512, :3])
        for image in map(imread, nuclei)
        for i in (0, 488)
        for j in (0, 488)
    ]
    tiles = [imread(path)[..., :3] for path in prostate[:: max(1, len(prostate) // count)][:count]]
    return {"256 px (prostate)": tiles, "512 px (nuclei images)": crops[:count]}


def main() -> None:
    """Print the ratios with their spread."""
    data = Path(os.environ.get("HMGDM_REAL_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
    for name, images in load_tiles(data, count=16).items():
        r = measure_graph_building(images)
        print(
            f"{name}: graph {r['graph_ms']:.1f} ms ({r['graph_ms_p10']:.1f} to {r['graph_ms_p90']:.1f}), "
            f"scikit-image slic alone {r['reference_ms']:.1f} ms "
            f"({r['reference_ms_p10']:.1f} to {r['reference_ms_p90']:.1f}); "
            f"ratio {r['ratio']:.3f} ({r['ratio_p10']:.3f} to {r['ratio_p90']:.3f}), "
            f"of medians {r['ratio_of_medians']:.3f}; "
            f"{r['tiles']} tiles x {r['repeats']}, {r['vertices']:.0f} vertices and {r['edges']:.0f} edges on average"
        )


if __name__ == "__main__":
    main()
