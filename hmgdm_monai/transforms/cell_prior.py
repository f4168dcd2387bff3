"""Region maps for the dense pretext task: cells and tissue, imported cell types, or superpixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy
from monai.utils.enums import TransformBackends

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import Slide, open_slide
from hmgdm_monai.data.stores.region_store import NO_REGION
from hmgdm_monai.data.tiles.cell_maps import UNKNOWN, CellMap, CellMapError, open_cell_map
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.nuclei import SegmentNuclei, check_mpp, glass_mask, mpp_of
from hmgdm_monai.transforms.superpixels import image_as_hwc, one_key_each

MOST_REGIONS = NO_REGION
BACKGROUND, OTHER_TISSUE, FIRST_CELL = 0, 1, 2
TISSUE_NAMES = ("background", "other tissue")
PRIOR_FORMAT = 1  # increase it when the same settings give other regions: stored maps are then computed again


class RegionPrior(Protocol):
    """Interface of a prior, which divides tiles into regions.

    Attributes:
        names: names of the R regions, in the order of their values.
    """

    names: tuple[str, ...]

    def settings(self, rows: Sequence[ManifestRow] = ()) -> dict[str, Any]:
        """All settings that influence the regions of these images, as JSON values."""
        ...

    def notes(self, row: ManifestRow) -> tuple[str, ...]:
        """One line for each kind of skipped object in an image's files."""
        ...

    def __call__(
        self,
        image: NdarrayOrTensor,
        superpixels: NdarrayOrTensor | None = None,
        mpp: float | None = None,
        row: ManifestRow | None = None,
        location_px: tuple[int, int] | None = None,
    ) -> NdarrayOrTensor:
        """Regions of one tile.

        Args:
            image: (3, S, S) uint8.
            superpixels: (1, S, S) integer, superpixels of the tile; None if the prior does not need them.
            mpp: microns per pixel of the tile; None if unknown.
            row: row of its image in the manifest; None if the prior does not need it.
            location_px: upper left corner of the tile, (x, y) in level-0 pixels; None if the prior does not need it.

        Returns:
            (1, S, S) uint8 in the container type of the image: 0 to R - 1, or 255 for pixels that belong to no region.

        Raises:
            InputError: an input that the prior needs is missing or not usable.
        """
        ...


class NucleusPrior(Transform):
    """Divide a tile into background (unstained glass), other tissue, and cell: nuclei detected by hematoxylin.

    Args:
        **settings: arguments of :class:`~hmgdm_monai.transforms.nuclei.SegmentNuclei`.
    """

    backend = [TransformBackends.NUMPY]
    names: tuple[str, ...] = (*TISSUE_NAMES, "cell")

    def __init__(self, **settings: float) -> None:
        self.segment = SegmentNuclei(**settings)

    def settings(self, rows: Sequence[ManifestRow] = ()) -> dict[str, Any]:
        """See :class:`RegionPrior`."""
        return {"prior": "nuclei", "format": PRIOR_FORMAT, **self.segment.settings()}

    def notes(self, row: ManifestRow) -> tuple[str, ...]:
        """Always empty."""
        return ()

    def __call__(
        self,
        image: NdarrayOrTensor,
        superpixels: NdarrayOrTensor | None = None,
        mpp: float | None = None,
        row: ManifestRow | None = None,
        location_px: tuple[int, int] | None = None,
    ) -> NdarrayOrTensor:
        """See :class:`RegionPrior`; needs `mpp`."""
        pixels = image_as_hwc(image)
        mpp = check_mpp(mpp)
        regions = _tissue(pixels, mpp)
        regions[self.segment.label(pixels, mpp) > 0] = FIRST_CELL
        return convert_to_dst_type(regions[None], image, dtype=np.uint8)[0]


class NucleusPriord(MapTransform):
    """Dictionary version of :class:`NucleusPrior`.

    Args:
        keys: keys of the tiles, (3, H, W) uint8.
        mpp: microns per pixel of the tiles, or the key of this value in the dictionary.
        regions_keys: output key of each region map, one for each of ``keys``.
        allow_missing_keys: skip missing keys instead of raising.
        **settings: arguments of :class:`NucleusPrior`.
    """

    backend = NucleusPrior.backend

    def __init__(
        self,
        keys: KeysCollection,
        mpp: float | str = "mpp",
        regions_keys: KeysCollection = "regions",
        allow_missing_keys: bool = False,
        **settings: float,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.regions_keys = one_key_each(self.keys, regions_keys, "regions_keys")
        self.mpp = mpp
        self.prior = NucleusPrior(**settings)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the region map of each tile added."""
        d = dict(data)
        mpp = mpp_of(d, self.mpp)
        for key, regions_key in self.key_iterator(d, self.regions_keys):
            d[regions_key] = self.prior(d[key], mpp=mpp)
        return d


class SuperpixelPrior(Transform):
    """Use the superpixels of the entity graph as regions, each with its own number.

    Superpixels are numbered within a tile, so regions can be matched between views of one tile, but not between tiles.

    Args:
        max_regions: number of regions R, above the largest superpixel number; at most 255.

    Raises:
        ValueError: ``max_regions`` is out of range.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, max_regions: int = MOST_REGIONS) -> None:
        if not 1 <= max_regions <= MOST_REGIONS:
            raise ValueError(f"max_regions must lie in 1..{MOST_REGIONS}, not {max_regions}.")
        self.names = tuple(f"superpixel {number}" for number in range(max_regions))

    def settings(self, rows: Sequence[ManifestRow] = ()) -> dict[str, Any]:
        """See :class:`RegionPrior`."""
        return {"prior": "superpixels", "format": PRIOR_FORMAT, "max_regions": len(self.names)}

    def notes(self, row: ManifestRow) -> tuple[str, ...]:
        """Always empty."""
        return ()

    def __call__(
        self,
        image: NdarrayOrTensor,
        superpixels: NdarrayOrTensor | None = None,
        mpp: float | None = None,
        row: ManifestRow | None = None,
        location_px: tuple[int, int] | None = None,
    ) -> NdarrayOrTensor:
        """See :class:`RegionPrior`; needs `superpixels`."""
        height, width = image_as_hwc(image).shape[:2]
        labels = None if superpixels is None else convert_to_numpy(superpixels)
        if labels is None or labels.shape != (1, height, width) or labels.dtype.kind not in "iu":
            shown = "none" if labels is None else f"{labels.dtype} {labels.shape}"
            raise InputError(
                f"superpixel prior: a tile needs superpixels (1, {height}, {width}) of integers, not {shown}"
            )
        if labels.min() < 0 or labels.max() >= len(self.names):
            raise InputError(
                f"superpixel prior: a tile has superpixels {labels.min()} to {labels.max()}, regions are numbered 0 to "
                f"{len(self.names) - 1}; lower n_segments"
            )
        return convert_to_dst_type(labels.astype(np.uint8), image, dtype=np.uint8)[0]


class ImportedPrior(Transform):
    """Background, other tissue, and the cells that another program has detected (HoVer-Net, CellViT, StarDist ...).

    The files are those of the manifest's column `cells`, see
    :func:`~hmgdm_monai.data.tiles.cell_maps.open_cell_map`. Cells of a class that is not listed belong to no region,
    and not to other tissue.

    Args:
        classes: names of cell types, which become regions 2, 3, ... in this order; None makes all cells region 2.
        labels: meaning of the numbers in PNG and NPY label maps, "instances" or "classes".

    Raises:
        ValueError: a class is listed twice, there are too many or none, or ``labels`` is unknown.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self, classes: Sequence[str] | None = None, labels: Literal["instances", "classes"] = "instances"
    ) -> None:
        if classes is not None and (len(set(classes)) != len(classes) or not classes):
            raise ValueError(f"cell classes must be a list of different names, not {list(classes)}.")
        if classes is not None and len(classes) > MOST_REGIONS - FIRST_CELL:
            raise ValueError(f"{len(classes)} cell classes are more than {MOST_REGIONS - FIRST_CELL}.")
        if labels not in ("instances", "classes"):
            raise ValueError(f"labels must be 'instances' or 'classes', not {labels!r}.")
        self.classes = None if classes is None else tuple(classes)
        self.labels = labels
        self.names = (*TISSUE_NAMES, *(("cell",) if self.classes is None else self.classes))
        self._opened: tuple[ManifestRow, CellMap, Slide] | None = None

    def settings(self, rows: Sequence[ManifestRow] = ()) -> dict[str, Any]:
        """See :class:`RegionPrior`; files are identified by name, size and modification time."""
        return {
            "prior": "imported",
            "format": PRIOR_FORMAT,
            "classes": None if self.classes is None else list(self.classes),
            "labels": self.labels,
            "cells": hashlib.sha256(json.dumps([_identity(row) for row in rows]).encode()).hexdigest(),
        }

    def notes(self, row: ManifestRow) -> tuple[str, ...]:
        """See :class:`RegionPrior`.

        Raises:
            CellMapError: the image has no cell file, or the file cannot be used.
        """
        return self._open(row)[0].notes

    def __call__(
        self,
        image: NdarrayOrTensor,
        superpixels: NdarrayOrTensor | None = None,
        mpp: float | None = None,
        row: ManifestRow | None = None,
        location_px: tuple[int, int] | None = None,
    ) -> NdarrayOrTensor:
        """See :class:`RegionPrior`; needs `mpp`, `row` and `location_px`.

        Raises:
            CellMapError: the image has no cell file, or the file cannot be used.
        """
        if row is None or location_px is None or mpp is None:
            raise InputError("imported prior: a tile needs its manifest row, location and microns per pixel")
        pixels = image_as_hwc(image)
        if pixels.shape[0] != pixels.shape[1]:
            raise InputError(f"imported prior: a tile must be square, not {pixels.shape[0]} x {pixels.shape[1]}")
        cell_map, slide = self._open(row)
        cells = cell_map.window(location_px, slide.downsample_at(mpp), pixels.shape[0])
        regions = _tissue(pixels, mpp)
        found = cells > 0
        regions[found] = cells[found] + (FIRST_CELL - 1)
        regions[cells == UNKNOWN] = NO_REGION
        return convert_to_dst_type(regions[None], image, dtype=np.uint8)[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _open(self, row: ManifestRow) -> tuple[CellMap, Slide]:
        """The cells of an image and the image, closed; the last one is cached, because tiles come image by image."""
        if self._opened is None or self._opened[0] != row:
            if row.cells is None:
                raise CellMapError(f"{row.image}: the manifest gives no cells for it; fill in its cells column")
            try:
                slide = open_slide(row.image, mpp=row.mpp)
            except InputError as error:
                raise CellMapError(str(error)) from error
            slide.close()
            self._opened = (row, open_cell_map(row.cells, slide.dimensions_px, self.classes, self.labels), slide)
        return self._opened[1:]


def _tissue(pixels: np.ndarray, mpp: float) -> np.ndarray:
    """(H, W) uint8, background or other tissue."""
    return np.where(glass_mask(pixels, mpp), BACKGROUND, OTHER_TISSUE).astype(np.uint8)


def _identity(row: ManifestRow) -> list[Any]:
    """Values that identify a version of a cell file."""
    if row.cells is None:
        return [row.id, None]
    try:
        stat = row.cells.stat()
    except OSError:
        return [row.id, row.cells.name, None]
    return [row.id, row.cells.name, stat.st_size, stat.st_mtime_ns]
