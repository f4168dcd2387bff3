"""Tiles a second by our `read_regions` against cuCIM's own `read_region`, on the same places of the same slides."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from benchmark_parts.common import ROOT, real_data_folder, spread, time_in_turns

TARGET = 0.85


def measure_reading(
    path: Path, tiles: int = 200, size_px: int = 256, num_workers: int = 1, repeats: int = 15, seed: int = 0
) -> dict[str, np.ndarray]:
    """Time reading of tiles at random places of level 0, at the slide's own scale, in turns.

    With one worker cuCIM is called tile by tile; with more, in one batched call.

    Args:
        path: a slide that cuCIM reads.
        tiles: how many places.
        size_px: side of the tiles.
        num_workers: decoding threads of both.
        repeats: rounds.
        seed: of the places.

    Returns:
        Tiles a second of each round, (repeats,), under "ours" and "cucim", and their "ratio" ours / cucim.
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
            out[number] = np.asarray(region)  # copied at once: a batch takes its memory back
        return out

    if not np.array_equal(ours(), theirs()):
        raise RuntimeError(f"{path}: we and cuCIM read different pixels; times of different work do not compare")
    seconds = time_in_turns({"ours": ours, "cucim": theirs}, repeats)
    result = {name: tiles / values for name, values in seconds.items()}
    return {**result, "ratio": seconds["cucim"] / seconds["ours"]}


def demo_slide(folder: Path) -> Path:
    """A slide of the demo cohort: that in the project's folder, or one drawn into `folder`."""
    from hmgdm_monai.data.demo import make_demo_cohort

    standing = sorted((ROOT / "demo_cohort" / "slides").glob("*.tif"))
    return standing[0] if standing else next(make_demo_cohort(folder, n_patients=1).folder.glob("slides/*.tif"))


def main() -> None:
    """Print tiles a second and ratios with their spread."""
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
