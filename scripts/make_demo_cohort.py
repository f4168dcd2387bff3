"""Draw the demo cohort: python scripts/make_demo_cohort.py --output demo_cohort --seed 0 --patients 24."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hmgdm_monai.data.demo import make_demo_cohort
from hmgdm_monai.errors import InputError


def main() -> int:
    """Read the command line and draw the cohort; return 2 on bad input."""
    parser = argparse.ArgumentParser(description="Draw a synthetic H&E cohort, or resume an interrupted one.")
    parser.add_argument(
        "--output", type=Path, default=Path("demo_cohort"), help="folder to write (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pixels (default: %(default)s)")
    parser.add_argument(
        "--patients", type=int, default=24, help="slides to draw, one per patient (default: %(default)s)"
    )
    parser.add_argument("--slide-px", type=int, default=2048, help="side of a slide, px (default: %(default)s)")
    parser.add_argument("--mpp", type=float, default=0.5, help="microns per pixel (default: %(default)s)")
    parser.add_argument(
        "--artifacts", action="store_true", help="draw pen marks, blur and folds, too, and maps of where they are"
    )
    given = parser.parse_args()
    try:
        cohort = make_demo_cohort(given.output, given.seed, given.patients, given.slide_px, given.mpp, given.artifacts)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    print(f"wrote {cohort.slides}, {cohort.tiles} and {cohort.truth}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
