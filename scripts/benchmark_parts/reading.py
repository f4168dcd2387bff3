"""Tiles per second of our `read_regions` and of cuCIM's `read_region`, at the same locations of the same slides."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from benchmark_parts.common import ROOT, real_data_folder, spread, time_in_turns

TARGET = 0.85


def measure_reading(
    path: Path, tiles: int = 200, size_px: int = 256, num_workers: int = 1, repeats: int = 15, seed: int = 0
) -> dict[str, np.ndarray]:
    """Time reading tiles at random locations of level 0, at the slide's own scale, with both readers alternately.

    With one worker, cuCIM is called once per tile; with more workers, in one batched call.

    Args:
        path: a slide that cuCIM can read.
        tiles: number of locations.
        size_px: side of the tiles.
        num_workers: number of decoding threads of both readers.
        repeats: number of rounds.
        seed: seed of the locations.

    Returns:
        Tiles per second of each round, (repeats,), under "ours" and "cucim", and their "ratio" ours / cucim.
    """
    from cucim import CuImage

    from hmgdm_monai.data.slides.slide import open_slide

    slide, image = open_slide(path, backend="cucim"), CuImage(str(path))
    width, height = slide.dimensions_px
    places = np.random.default_rng(seed).integers(0, [width - size_px, height - size_px], (tiles, 2))
    as_tuples, size = [tuple(place) for place in places.tolist()], (size_px, size_px)

    def ours() -> np.ndarray:
        return slide.read_regions(places, size_px, slide.mpp, num_workers=num_workers)

    def theirs() -> np.ndarray:
        out = np.empty((tiles, size_px, size_px, 3), np.uint8)
        if num_workers == 1:
            regions = (image.read_region(place, size, 0) for place in as_tuples)
        else:
            regions = image.read_region(as_tuples, size, 0, num_workers=num_workers)
        for number, region in enumerate(regions):
            out[number] = np.asarray(region)  # copied immediately, because cuCIM reuses the memory of a batch
        return out

    if not np.array_equal(ours(), theirs()):
        raise RuntimeError(f"{path}: the two readers return different pixels, so their times cannot be compared")
    seconds = time_in_turns({"ours": ours, "cucim": theirs}, repeats)
    result = {name: tiles / values for name, values in seconds.items()}
    return {**result, "ratio": seconds["cucim"] / seconds["ours"]}


def demo_slide(folder: Path) -> Path:
    """Return a slide of the demo cohort: from the project's folder, or drawn into `folder`."""
    from hmgdm_monai.data.demo import make_demo_cohort

    standing = sorted((ROOT / "demo_cohort" / "slides").glob("*.tif"))
    return standing[0] if standing else next(make_demo_cohort(folder, n_patients=1).folder.glob("slides/*.tif"))


def main() -> None:
    """Print tiles per second and ratios with their spread."""
    with tempfile.TemporaryDirectory() as folder:
        slides = {"synthetic demo slide": demo_slide(Path(folder) / "demo")}
        real = real_data_folder() / "slides" / "CMU-1-Small-Region.svs"
        if real.exists():
            slides = {real.name: real, **slides}
        for name, path in slides.items():
            for num_workers in (1, 2):
                r = measure_reading(path, num_workers=num_workers)
                print(
                    f"{name}, {num_workers} worker(s): ours {spread(r['ours'], 0)} tiles/s, cuCIM's own "
                    f"{spread(r['cucim'], 0)} tiles/s; ratio {spread(r['ratio'])}, target {TARGET} or more; "
                    f"200 tiles of 256 px x {len(r['ratio'])}"
                )
