"""Convert tiles to the input of the encoders: entity graphs, or images. Picklable, and without weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor
from torch_geometric.data import Data

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.build_transforms import build_transforms
from hmgdm_monai.transforms.quality import QualityLimits, TileQuality
from hmgdm_monai.transforms.tile_transforms import reads_cells, tile_graph, transformed


class TileToGraph:
    """Build the entity graph of a tile, as in training.

    Args:
        transforms: steps from the pixels of a tile to its graph.
        mpp: microns per pixel of the tiles; None if unknown.
    """

    def __init__(self, transforms: Compose, mpp: float | None = None) -> None:
        self.transforms, self.mpp = transforms, mpp

    @property
    def reads_cells(self) -> bool:
        """Whether it reads cell outlines."""
        return reads_cells(self.transforms)

    def __call__(
        self, image: Tensor | np.ndarray, keep_label_map: bool = True, outlines: np.ndarray | None = None
    ) -> EntityGraph:
        """Build the graph of a tile, on the CPU; it always has ``image``, ``label_map`` and ``mpp``.

        Args:
            image: (3, S, S) uint8.
            keep_label_map: has no effect here.
            outlines: (S, S) integer, cells of another program, if entities are cells; None if there are none.

        Raises:
            NoEntitiesError: the tile shows no entity.
            LeftOutTileError: the tile is left out because of its quality.
        """
        return tile_graph(self.transforms, image, self.mpp, outlines)


class TileToImage:
    """Use the tile image as input, with the grid of patches as its label map.

    Args:
        patch_px: side of a patch in px.
        transforms: transforms to apply to the image first; None keeps it.
        mpp: microns per pixel of the tiles; None if unknown.
    """

    reads_cells = False

    def __init__(self, patch_px: int, transforms: Compose | None = None, mpp: float | None = None) -> None:
        self.patch_px, self.transforms, self.mpp = patch_px, transforms, mpp

    def __call__(self, image: Tensor | np.ndarray, keep_label_map: bool = False) -> Data:
        """Convert a tile (3, S, S) to a sample with ``image`` (1, 3, S, S) uint8, on the CPU.

        Args:
            image: (3, S, S) uint8.
            keep_label_map: whether the sample has a ``label_map`` (1, S, S), the patch of each pixel.

        Raises:
            LeftOutTileError: the tile is left out because of its quality.
            ValueError: S is not a multiple of the patch size.
        """
        if self.transforms is not None:
            image = transformed(self.transforms, {"image": image, "mpp": self.mpp})["image"]
        image = torch.as_tensor(np.ascontiguousarray(image))
        if any(side % self.patch_px for side in image.shape[1:]):
            raise ValueError(f"a tile of {tuple(image.shape[1:])} px cannot be cut into patches of {self.patch_px} px")
        sample = image_sample(image)
        if keep_label_map:
            rows, columns = (torch.arange(side // self.patch_px, dtype=torch.int32) for side in image.shape[1:])
            grid = rows[:, None] * len(columns) + columns
            sample.label_map = grid.repeat_interleave(self.patch_px, 0).repeat_interleave(self.patch_px, 1)[None]
        return sample


class CheckedSample:
    """Check the quality of a tile before another class of this module converts it.

    Args:
        limits: limits of the scores.
        to_sample: converts the tile.
        mpp: microns per pixel of the tiles; None if unknown.
    """

    def __init__(self, limits: QualityLimits, to_sample: Callable[..., Data], mpp: float | None = None) -> None:
        self.check, self.to_sample, self.mpp = TileQuality(limits), to_sample, mpp

    def __call__(self, image: Tensor | np.ndarray, **known: Any) -> Data:
        """Convert a tile (3, S, S) uint8; `known` are further arguments of `to_sample`.

        Raises:
            LeftOutTileError: the tile is beyond a limit.
        """
        self.check(image, self.mpp)
        return self.to_sample(image, **known)


def checked_sample(
    to_sample: Callable[..., Data], limits: QualityLimits | None, mpp: float | None = None
) -> Callable[..., Data]:
    """Return `to_sample`, with a :class:`CheckedSample` around it if there are limits."""
    return to_sample if limits is None else CheckedSample(limits, to_sample, mpp)


def image_sample(image: Tensor) -> Data:
    """Convert an image (3, S, S) uint8 to a sample; PyG's loader batches samples to (B, 3, S, S)."""
    return Data(image=image[None], num_nodes=1)


def transforms_of(run_settings: Mapping[str, Any]) -> Compose:
    """The transforms with which a model was trained, from the pixels of a tile to its entity graph.

    Args:
        run_settings: run settings of the model.

    Raises:
        InputError: the settings do not contain the transforms, or the model was trained on graphs without tiles.
    """
    recipe = run_settings.get("recipe")
    if recipe is None:
        raise InputError("the model's settings do not describe how its tiles are made; give a run's model.pt")
    if recipe.get("transforms") is None:
        raise InputError(
            "the model was trained on graphs of another program (entity_kind graphs), so it takes no tiles; "
            "docs/entities.md says how to embed such graphs"
        )
    return build_transforms(recipe["transforms"])
