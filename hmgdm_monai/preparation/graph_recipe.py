"""How the tiles of a cohort and their graphs are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.transforms.entity_cutter import EntityCutter
from hmgdm_monai.transforms.stain import NormalizeStain

GRAPH_FORMAT = 2  # raised when the same settings come to mean other graphs: stored ones are then computed anew


@dataclass(frozen=True)
class GraphRecipe:
    """How tiles and their graphs are made.

    Attributes:
        tile_spec: size, scale and choice of tiles.
        cutter: cuts a tile into entities.
        stain: normalises a tile before that; None leaves it as it is.
        max_tiles: of one image; where it has more, that many are drawn, spread evenly over its tissue. None takes all.
        seed: of that draw.
    """

    tile_spec: TileSpec
    cutter: EntityCutter
    stain: NormalizeStain | None = None
    max_tiles: int | None = None
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """All of it as values that JSON knows; equal recipes give equal settings."""
        spec = self.tile_spec
        return {
            "graph_format": GRAPH_FORMAT,
            "tile": {
                "size_px": int(spec.size_px),
                "mpp": float(spec.mpp),
                "overlap_px": int(spec.overlap_px),
                "min_tissue": float(spec.min_tissue),
            },
            **self.cutter.settings(),
            "stain": None if self.stain is None else self.stain.method,
            "max_tiles": None if self.max_tiles is None else {"n": int(self.max_tiles), "seed": int(self.seed)},
        }
