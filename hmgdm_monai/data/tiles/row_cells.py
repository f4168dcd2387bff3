"""Outlines of cells that the manifest names for an image, as instances tile by tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import Slide
from hmgdm_monai.data.tiles.cell_maps import CellMap, open_cell_map
from hmgdm_monai.errors import InputError


class RowCells:
    """Cells of the tiles of one image, where entities are cells.

    Args:
        slide: the image.
        row: of the manifest; its file of ``cells`` is opened where it names one.
        tile_mpp: microns per pixel of the tiles.

    Attributes:
        notes: what of the file was not taken, one line each.

    Raises:
        InputError: the image does not tell its scale, by which cells are measured; or a file that cannot be used.
    """

    def __init__(self, slide: Slide, row: ManifestRow, tile_mpp: float) -> None:
        if slide.mpp is None:
            raise InputError(
                f"{slide.path}: cells are measured in um, and it does not tell its microns per pixel; fill in the "
                "manifest's column mpp"
            )
        self.pixel_px = slide.downsample_at(tile_mpp)
        self.map: CellMap | None = None if row.cells is None else open_cell_map(row.cells, slide.dimensions_px)
        self.notes: tuple[str, ...] = () if self.map is None else self.map.notes

    def outlines(self, location_px: Sequence[float], size_px: int) -> np.ndarray | None:
        """Instances (S, S) of a tile by the upper left corner, level-0 px; None where no file says which they are."""
        return None if self.map is None else self.map.instances(location_px, self.pixel_px, size_px)
