"""List a folder of slides, or of features with outcomes.

python scripts/make_manifest.py --slides slides --coords trident --output cohort.csv
python scripts/make_manifest.py --features clam/FEATURES --table outcomes.csv --slide-column slide_id --output c.csv
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hmgdm_monai.data.manifest.features_manifest import make_features_manifest
from hmgdm_monai.data.manifest.make_manifest import make_manifest
from hmgdm_monai.errors import InputError


def main() -> int:
    """Read the command line and write the manifest; return 2 on bad input."""
    parser = argparse.ArgumentParser(description="Write the manifest of a folder of slides, or of features.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--slides", type=Path, help="folder of slides, searched with its subfolders")
    source.add_argument(
        "--features", type=Path, nargs="+", help="folder of features of CLAM, TRIDENT or STAMP, one for each encoder"
    )
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
    parser.add_argument("--table", type=Path, help="with --features: CSV of outcomes, whose columns are copied")
    parser.add_argument("--slide-column", default="slide", help="column of slides in it (default: %(default)s)")
    parser.add_argument("--patient-column", default="patient", help="column of patients in it (default: %(default)s)")
    given = parser.parse_args()
    classes = [name.strip() for name in given.region_classes.split(";") if name.strip()]
    columns = given.slide_column, given.patient_column
    try:
        if given.features:
            count, notes = make_features_manifest(given.features, given.output, given.table, *columns, given.patient)
        else:
            count, notes = make_manifest(
                given.slides, given.output, given.coords, given.regions, classes, given.patient
            )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for note in notes:
        print(note, file=sys.stderr)
    print(f"wrote {given.output}: {count} slides")
    return 0


if __name__ == "__main__":
    sys.exit(main())
