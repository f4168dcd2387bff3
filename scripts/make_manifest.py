"""List a folder of slides: python scripts/make_manifest.py --slides slides --coords trident --output cohort.csv."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hmgdm_monai.data.manifest.make_manifest import make_manifest
from hmgdm_monai.errors import InputError


def main() -> int:
    """Read the command line and write the manifest; return 2 on bad input."""
    parser = argparse.ArgumentParser(description="Write the manifest of a folder of slides.")
    parser.add_argument("--slides", type=Path, required=True, help="folder of slides, searched with its subfolders")
    parser.add_argument("--output", type=Path, default=Path("cohort.csv"), help="CSV to write (default: %(default)s)")
    parser.add_argument("--coords", type=Path, help="folder written by CLAM or TRIDENT; its tiles are used")
    parser.add_argument(
        "--regions", type=Path, help="folder of <slide>.geojson; only tiles in its annotations are used"
    )
    parser.add_argument("--region-classes", default="", help='classes of annotations to use: "Tumor;Stroma"')
    parser.add_argument(
        "--patient",
        help="regular expression whose first group in a slide's name is the patient, or tcga for its barcodes "
        "(default: each slide is a patient)",
    )
    given = parser.parse_args()
    classes = [name.strip() for name in given.region_classes.split(";") if name.strip()]
    try:
        count, notes = make_manifest(given.slides, given.output, given.coords, given.regions, classes, given.patient)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for note in notes:
        print(note, file=sys.stderr)
    print(f"wrote {given.output}: {count} slides")
    return 0


if __name__ == "__main__":
    sys.exit(main())
