"""Cell outlines that the manifest gives for an image, as instances for each tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import Slide
from hmgdm_monai.data.tiles.cell_maps import CellMap, open_cell_map
from hmgdm_monai.errors import InputError


class RowCells:
    """The cells of the tiles of one image, for graphs whose entities are cells.

    Args:
        slide: the image.
        row: row of the manifest; its ``cells`` file is opened if it gives one.
        tile_mpp: microns per pixel of the tiles.

    Attributes:
        notes: one line for each kind of skipped object in the file.

    Raises:
        InputError: the scale of the image is unknown, so cells cannot be measured; or the file cannot be used.
    """

    def __init__(self, slide: Slide, row: ManifestRow, tile_mpp: float) -> None:
        if slide.mpp is None:
            raise InputError(
                f"{slide.path}: cells are measured in um, but its microns per pixel are unknown; fill in the "
                "manifest's column mpp"
            )
        self.pixel_px = slide.downsample_at(tile_mpp)
        self.map: CellMap | None = None if row.cells is None else open_cell_map(row.cells, slide.dimensions_px)
        self.notes: tuple[str, ...] = () if self.map is None else self.map.notes

    def outlines(self, location_px: Sequence[float], size_px: int) -> np.ndarray | None:
        """Cell instances (S, S) of the tile at this upper left corner (level-0 px); None if there is no file.

        Args:
            location_px: upper left corner of the tile, (x, y) in level-0 pixels.
            size_px: size S of the tile in its own pixels.
        """
        return None if self.map is None else self.map.instances(location_px, self.pixel_px, size_px)
