"""Convert real outcomes to a cohort of this package: bags of region features as HDF5 files, and a manifest."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.files.whole_file import write_whole

COLUMNS = ("image", "patient", "time", "event", "features", "site", "age", "is_female")


def convert_survival_cohort(data: Path, cohort: str, folder: Path) -> Path:
    """Write `<folder>/<slide>.h5` and `<folder>/manifest.csv` for "kirc" or "lihc", and return the manifest's path.

    There are no slides, so the column `image` also names the features. These features have no coordinates.

    Args:
        data: folder of the real data, with `survival/`.
        cohort: name of the cohort.
        folder: output folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archive = data / "survival" / f"{safe_name(cohort)}_region_features.npz"
    with (
        np.load(archive) as features,
        archive.with_name(f"{safe_name(cohort)}_survival.csv").open(newline="") as table,
    ):
        rows: list[tuple[object, ...]] = [COLUMNS]
        for row in csv.DictReader(table):
            name = f"{safe_name(row['slide_id'])}.h5"
            write_features(folder / name, features[row["slide_id"]])
            outcome = (row["survival_months"], int(float(row["event"])))
            rows.append((name, row["case_id"], *outcome, name, row["site"], row["age"], row["is_female"]))
    write_whole(folder / "manifest.csv", csv_text(rows).encode())
    return folder / "manifest.csv"
