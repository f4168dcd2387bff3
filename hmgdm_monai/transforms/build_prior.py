"""Whatever cuts tiles into regions, from the settings of a config."""

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
    """What cuts tiles into the regions of the dense task.

    Args:
        name: "nuclei" (found by hematoxylin), "superpixels" (of the entity graph) or "imported" (the manifest's column
            cells).
        cell_classes: of "imported": names of cell types, a region each; None makes one region of all cells.
        cell_labels: of "imported": what the numbers of label maps say, "instances" or "classes".
        max_superpixels: of "superpixels": regions, above the largest number of superpixels of a tile.

    Raises:
        InputError: there is no such prior.

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
