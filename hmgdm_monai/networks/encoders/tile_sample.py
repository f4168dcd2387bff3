"""Tiles as the encoders take them: entity graphs, or images. Picklable, and without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.build_cutter import build_cutter
from hmgdm_monai.transforms.entity_cutter import EntityCutter
from hmgdm_monai.transforms.entity_graph import build_entity_graph
from hmgdm_monai.transforms.stain import NormalizeStain

_NEEDED = ("stain_method", "n_segments", "compactness", "merge_threshold")
_CHOICES = ("entity_kind", "cell_edges", "cell_neighbors", "max_edge_um")  # superpixels where a run does not tell


class TileToGraph:
    """The entity graph of a tile, as the model was trained on.

    Args:
        cutter: cuts a tile into entities.
        stain: normalises a tile before that; None leaves it as it is.
        mpp: microns per pixel of the tiles; None where unknown.
    """

    def __init__(self, cutter: EntityCutter, stain: NormalizeStain | None = None, mpp: float | None = None) -> None:
        self.cutter, self.stain, self.mpp = cutter, stain, mpp

    @property
    def reads_cells(self) -> bool:
        """Whether it takes outlines of cells."""
        return self.cutter.reads_cells

    def __call__(
        self, image: Tensor | np.ndarray, keep_label_map: bool = True, outlines: np.ndarray | None = None
    ) -> EntityGraph:
        """Graph of a tile with ``image``, ``label_map`` and ``mpp``, which it always keeps, on the CPU.

        Args:
            image: (3, S, S) uint8.
            keep_label_map: has no effect here.
            outlines: (S, S) integer, cells that another program has found, where entities are cells.

        Raises:
            NoEntitiesError: the tile shows none.
        """
        if self.stain is not None:
            image = self.stain(image)
        label_map, edge_index = self.cutter.cut(image, self.mpp, outlines)
        return build_entity_graph(image, label_map, edge_index=edge_index, mpp=self.mpp)


class TileToImage:
    """A tile as it is, with the grid of patches as its label map.

    Args:
        patch_px: side of a patch.
        stain: normalises a tile first; None leaves it as it is.
    """

    reads_cells = False

    def __init__(self, patch_px: int, stain: NormalizeStain | None = None) -> None:
        self.patch_px, self.stain = patch_px, stain

    def __call__(self, image: Tensor | np.ndarray, keep_label_map: bool = False) -> Data:
        """Sample with ``image`` (1, 3, S, S) uint8 of a tile (3, S, S), on the CPU.

        Raises:
            ValueError: S is no multiple of the patch.
        """
        if self.stain is not None:
            image = self.stain(image)
        image = torch.as_tensor(np.ascontiguousarray(image))
        if any(side % self.patch_px for side in image.shape[1:]):
            raise ValueError(f"a tile of {tuple(image.shape[1:])} px cannot be cut into patches of {self.patch_px} px")
        sample = image_sample(image)
        if keep_label_map:
            rows, columns = (torch.arange(side // self.patch_px, dtype=torch.int32) for side in image.shape[1:])
            grid = rows[:, None] * len(columns) + columns
            sample.label_map = grid.repeat_interleave(self.patch_px, 0).repeat_interleave(self.patch_px, 1)[None]
        return sample


def image_sample(image: Tensor) -> Data:
    """An image (3, S, S) uint8 as a sample that batches with PyG's loader to (B, 3, S, S)."""
    return Data(image=image[None], num_nodes=1)


def stain_of(run_settings: Mapping[str, Any]) -> NormalizeStain | None:
    """The stain normalisation that a model was trained with.

    Raises:
        InputError: the settings do not tell.
    """
    stain = _data_settings(run_settings)["stain_method"]
    return None if stain is None else NormalizeStain(stain)


def cutter_of(run_settings: Mapping[str, Any]) -> EntityCutter:
    """What cuts tiles into the entities that a model was trained on, or that were stored beside its tiles.

    Raises:
        InputError: the settings do not tell, or the model was trained on graphs that came without tiles.
    """
    data = _data_settings(run_settings)
    cutter = build_cutter(**{name: data[name] for name in (*_NEEDED[1:], *_CHOICES) if name in data})
    if cutter is None:
        raise InputError(
            "the model was trained on graphs of another program (entity_kind graphs), so it takes no tiles; "
            "docs/entities.md says how to embed such graphs"
        )
    return cutter


def _data_settings(run_settings: Mapping[str, Any]) -> Mapping[str, Any]:
    data = run_settings.get("data", {})
    missing = [name for name in _NEEDED if name not in data]
    if missing:
        raise InputError(
            f"the model's settings lack {', '.join(missing)}, so its tiles cannot be made; give a run's model.pt"
        )
    return data
