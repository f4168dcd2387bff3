"""How the tiles of a cohort are chosen and processed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monai.transforms import Compose

from hmgdm_monai.data.tiles.mask import MaskRule
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.transforms.tile_transforms import cutter_in, described, reads_cells

GRAPH_FORMAT = 4  # increase it if the same settings make other graphs: stored graphs are then computed again


@dataclass(frozen=True)
class TileRecipe:
    """How tiles and their graphs are made.

    Attributes:
        tile_spec: size, scale and choice of tiles.
        transforms: turn the pixels of a tile into its entity graph; see :mod:`hmgdm_monai.transforms.tile_transforms`.
            None for graphs of another program, which have no tiles.
        max_tiles: maximum number of tiles per image. If an image has more, that many are drawn, evenly over its tissue.
            None takes all.
        seed: seed of this draw.
        mask: which values of the masks in the manifest's column ``mask`` are kept.
    """

    tile_spec: TileSpec
    transforms: Compose | None = None  # the default is None because MONAI omits disabled config entries
    max_tiles: int | None = None
    seed: int = 0
    mask: MaskRule = MaskRule()

    @property
    def reads_cells(self) -> bool:
        """Whether outlines of cells are read in addition to the image."""
        return self.transforms is not None and reads_cells(self.transforms)

    @property
    def entity_kind(self) -> str:
        """What the vertices of a graph are, in the plural: "superpixels", "squares", "cells" or "entities"."""
        cutter = None if self.transforms is None else cutter_in(self.transforms)
        return "entities" if cutter is None else cutter.kind

    def settings(self) -> dict[str, Any]:
        """Return all settings as values that JSON can store; equal recipes return equal settings."""
        spec = self.tile_spec
        return {
            "graph_format": GRAPH_FORMAT,
            "tile": {
                "size_px": int(spec.size_px),
                "mpp": float(spec.mpp),
                "overlap_px": int(spec.overlap_px),
                "min_tissue": float(spec.min_tissue),
            },
            "mask": {
                "inside": list(self.mask.inside),
                "outside": list(self.mask.outside),
                "min_share": float(self.mask.min_share),
            },
            "transforms": described(self.transforms),
            "max_tiles": None if self.max_tiles is None else {"n": int(self.max_tiles), "seed": int(self.seed)},
        }
