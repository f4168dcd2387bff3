"""Build the prior that divides tiles into regions, from the settings of a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.cell_prior import ImportedPrior, NucleusPrior, RegionPrior, SuperpixelPrior

PRIORS = ("nuclei", "superpixels", "imported")


def build_prior(
    name: str = "nuclei",
    cell_classes: Sequence[str] | None = None,
    cell_labels: Literal["instances", "classes"] = "instances",
    max_superpixels: int = 80,
) -> RegionPrior:
    """Build the prior that divides tiles into the regions of the dense task.

    Args:
        name: "nuclei" (detected by hematoxylin), "superpixels" (of the entity graph) or "imported" (from the column
            `cells` of the manifest).
        cell_classes: "imported": names of cell types, one region each; None makes one region of all cells.
        cell_labels: "imported": meaning of the numbers in label maps, "instances" or "classes".
        max_superpixels: "superpixels": number of regions, at least the largest number of superpixels of a tile.

    Raises:
        InputError: the prior does not exist.

    Example:
        >>> build_prior("nuclei").names
        ('background', 'other tissue', 'cell')
    """
    if name == "nuclei":
        return NucleusPrior()
    if name == "superpixels":
        return SuperpixelPrior(max_superpixels)
    if name == "imported":
        return ImportedPrior(cell_classes, cell_labels)
    raise InputError(f"prior: there is no {name!r}; choose one of {', '.join(PRIORS)}")
