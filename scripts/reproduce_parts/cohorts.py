"""Tiles for training and labeled tiles for scoring, for each data set of the table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark_parts.common import ROOT, need, real_data_folder
from benchmark_parts.representation import prostate_cohort

from hmgdm_monai.data.files.csv_text import csv_text
from hmgdm_monai.errors import InputError

DATA_SETS = ("glas", "breast", "prostate", "demo")
# With this scale, the 50 px of a breast tile become 256 px at 1 um: the tile is enlarged, not padded with white.
BREAST_MPP = 256 / 50


@dataclass(frozen=True)
class Image:
    """An image for training: file, group (biopsy or patient), class if it has one, scale."""

    path: Path
    group: str
    label: str | None = None
    mpp: float | None = None


@dataclass(frozen=True)
class Cohort:
    """A data set: name, images, and the negative classes of the AUC."""

    name: str
    images: tuple[Image, ...]
    negatives: tuple[str, ...]

    @property
    def labels(self) -> dict[Path, str]:
        """Return the class of each labeled image."""
        return {image.path: image.label for image in self.images if image.label is not None}


def read_cohort(data: str, max_tiles: int | None = None, negatives: Sequence[str] | None = None) -> Cohort:
    """Return the images of "glas", "breast", "prostate" or "demo", or of a manifest.

    Each group has at most ``max_tiles`` images; of the prostate tiles, at most that many labeled and that many
    unlabeled ones. ``negatives`` are class names. By default these are the classes with "benign" in their name,
    "0_non_idc" for the breast tiles, and all classes except the tumor for the demo cohort.

    Raises:
        InputError: the data set does not exist, or no class or every class is negative.
    """
    if data == "prostate":
        tiles = prostate_cohort(real_data_folder(), max_tiles)
        images = [Image(tile.path.resolve(), tile.biopsy, tile.label) for tile in tiles]
    elif data == "glas":
        images = _thin(_labeled_folder("glas"), max_tiles)
    elif data == "breast":
        images = _thin(_labeled_folder("idc_breast", BREAST_MPP), max_tiles)
    else:
        images = _thin(_of_manifest(_demo() if data == "demo" else need(Path(data))), max_tiles)
    classes = sorted({image.label for image in images if image.label is not None})
    if negatives is None:
        demo = [name for name in classes if name != "tumor"] if data == "demo" else []
        negatives = demo or [name for name in classes if "benign" in name or "non_idc" in name]
    unknown = set(negatives) - set(classes)
    if unknown or not 0 < len(set(negatives)) < len(classes):
        raise InputError(
            f"{data}: has the classes {', '.join(classes) or 'none'}; name with --negative those that are not cancer, "
            "some of them and not all"
        )
    return Cohort(data if data in DATA_SETS else Path(data).stem, tuple(images), tuple(sorted(negatives)))


def write_manifest(cohort: Cohort, path: Path) -> Path:
    """Write the manifest of pretraining: image, patient and scale, without labels."""
    rows = [(image.path, image.group, "" if image.mpp is None else image.mpp) for image in cohort.images]
    content = csv_text([("image", "patient", "mpp"), *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != content:
        path.write_text(content)
    return path


def _labeled_folder(name: str, mpp: float | None = None) -> list[Image]:
    """Return all tiles of a folder of real data whose manifest has file, class and group."""
    folder = need(real_data_folder() / name / "labelled")
    with need(folder / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [Image((folder / row["file"]).resolve(), row["group"], row["class"], mpp) for row in rows]


def _of_manifest(path: Path) -> list[Image]:
    from hmgdm_monai.data.manifest.manifest import read_manifest

    return [Image(row.image.resolve(), row.patient, row.label, row.mpp) for row in read_manifest(path).rows]


def _demo() -> Path:
    from hmgdm_monai.data.demo import make_demo_cohort

    return make_demo_cohort(ROOT / "demo_cohort").tiles


def _thin(images: Sequence[Image], most: int | None) -> list[Image]:
    taken: dict[str, int] = {}
    kept = []
    for image in images:
        taken[image.group] = taken.get(image.group, 0) + 1
        if most is None or taken[image.group] <= most:
            kept.append(image)
    return kept
