"""Share of artifact tiles that the quality check finds and of clean tiles that it keeps, on demo slides and real tiles.

The limits were chosen on the demo cohort of seed 0, with 150 tiles of each labeled real set in view as clean
ones. So only the other seeds, and real tiles that were not in view, tell how well they work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from benchmark_parts.common import real_data_folder

from hmgdm_monai.data.demo import make_demo_cohort
from hmgdm_monai.data.demo.artifacts import ARTIFACTS
from hmgdm_monai.data.demo.layout import GRID_UM
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import TileSpec, share_in_mask, tile_locations
from hmgdm_monai.transforms.quality import QualityLimits
from hmgdm_monai.transforms.quality_scores import QualityScores, quality_scores

CHOSEN_ON = 0  # seed of the cohort on which the limits were chosen
LEAST_SHARE = {"pen": 0.1, "blur": 0.3, "fold": 0.1}  # of a tile that counts as one with this artifact
REAL = {  # folder below the real data -> um per px of its tiles
    "prostate_gleason/labelled": 1.0,
    "prostate_gleason/unlabelled": 1.0,
    "glas/labelled": 0.62,
    "idc_breast/labelled": 4.0,
}


def demo_tiles(folder: Path, spec: TileSpec) -> Iterator[tuple[QualityScores, dict[str, float]]]:
    """Yield scores, and share of the tile that each artifact covers, for the tiles of a demo cohort with artifacts.

    Args:
        folder: folder of the cohort.
        spec: size, scale and choice of tiles.
    """
    from PIL import Image

    for path in sorted((folder / "slides").glob("*.tif")):
        marked = np.asarray(Image.open(folder / "artifacts" / f"{path.stem}.png"))
        slide = open_slide(path)
        places = tile_locations(slide, spec)
        scale = slide.mpp / GRID_UM  # grid points per level-0 pixel
        x, y = places.T * scale
        span = spec.size_px * spec.mpp / GRID_UM
        covered = {
            name: share_in_mask(marked == value, x, y, span) for value, name in enumerate(ARTIFACTS) if name != "none"
        }
        for number, pixels in enumerate(slide.read_regions(places, spec.size_px, spec.mpp)):
            shares = {name: float(values[number]) for name, values in covered.items()}
            yield quality_scores(pixels.transpose(2, 0, 1), spec.mpp), shares


def found_and_kept(
    tiles: Sequence[tuple[QualityScores, dict[str, float]]], limits: QualityLimits
) -> dict[str, tuple[int, int]]:
    """Count the tiles of each artifact that are left out for any reason, and the clean tiles that are kept.

    Tiles with less of an artifact than `LEAST_SHARE` are neither.

    Args:
        tiles: scores and shares of :func:`demo_tiles`.
        limits: limits of the scores.

    Returns:
        "pen", "blur", "fold", "any artifact" and "clean" -> (number found or kept, number of tiles).
    """
    counts = {name: [0, 0] for name in (*LEAST_SHARE, "any artifact", "clean")}
    for scores, shares in tiles:
        left_out = limits.reason(scores) is not None
        names = [name for name, least in LEAST_SHARE.items() if shares[name] >= least]
        for name in [*names, "any artifact"] if names else []:
            counts[name][0] += left_out
            counts[name][1] += 1
        if not any(shares.values()):
            counts["clean"][0] += not left_out
            counts["clean"][1] += 1
    return {name: (good, total) for name, (good, total) in counts.items()}


def real_tiles_left_out(folder: Path, mpp: float, limits: QualityLimits) -> tuple[int, Counter[str]]:
    """Return the number of tile images below a folder, and of those that are left out, by reason."""
    from PIL import Image

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    reasons: Counter[str] = Counter()
    for path in paths:
        pixels = np.array(Image.open(path).convert("RGB"))
        if (reason := limits.reason(quality_scores(pixels.transpose(2, 0, 1), mpp))) is not None:
            reasons[reason] += 1
    return len(paths), reasons


def interval(count: int, total: int) -> str:
    """Return a share with its 95 % interval (Wilson), in percent."""
    if total == 0:
        return "no tiles"
    z, share = 1.96, count / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return f"{100 * share:.1f} % ({100 * (middle - half):.1f} to {100 * (middle + half):.1f}) of {total}"


def main(output: Path, seeds: Sequence[int], n_patients: int = 24) -> None:
    """Print the shares on demo cohorts, which are drawn where they are missing, and on the real tiles if there are any.

    Args:
        output: output folder; cohorts are in ``quality/seed_N``.
        seeds: seeds of the cohorts.
        n_patients: slides per cohort.
    """
    limits, spec = QualityLimits(), TileSpec(overlap_px=128)
    for seed in seeds:
        folder = output / "quality" / f"seed_{seed}"
        make_demo_cohort(folder, seed, n_patients, artifacts=True)
        counts = found_and_kept(list(demo_tiles(folder, spec)), limits)
        print(f"demo cohort of seed {seed}{' (limits were chosen on it)' if seed == CHOSEN_ON else ''}:")
        for name, (good, total) in counts.items():
            print(f"  {name:13s} {'kept' if name == 'clean' else 'found'} {interval(good, total)}", flush=True)
    for name, mpp in REAL.items():
        if (real_data_folder() / name).is_dir():
            total, reasons = real_tiles_left_out(real_data_folder() / name, mpp, limits)
            shown = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "none"
            print(f"{name}: left out {interval(reasons.total(), total)}; {shown}", flush=True)
