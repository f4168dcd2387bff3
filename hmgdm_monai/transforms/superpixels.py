"""MONAI transforms that divide a tile into superpixels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_numpy, ensure_tuple
from monai.utils.enums import TransformBackends

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_cutter import CutTile
from hmgdm_monai.transforms.region_adjacency import merge_similar_neighbors, region_adjacency
from hmgdm_monai.transforms.slic import slic

METHODS = ("fast", "skimage")


class Superpixels(Transform):
    """Divide a tile into connected superpixels by SLIC.

    The defaults are those of the paper (from HistoCartography): about 50 segments, compactness 20, blur sigma 1 px.
    Difference from the paper: its merging of neighbors with similar colors (threshold 0.02) is off, so that the number
    of entities hardly depends on the stain; ``merge_threshold`` enables it.

    Args:
        n_segments: approximate number of superpixels.
        compactness: weight of spatial distance against color distance.
        sigma: standard deviation in px of the blur before clustering.
        iterations: number of k-means rounds.
        merge_threshold: merge touching superpixels closer in mean color than this (see
            :func:`~hmgdm_monai.transforms.region_adjacency.merge_similar_neighbors`); None merges none.
        method: "fast" for :func:`hmgdm_monai.transforms.slic.slic`; "skimage" for the reference, scikit-image's
            ``slic``.

    Raises:
        ValueError: a setting is out of range.
    """

    backend = [TransformBackends.NUMPY]
    kind = "superpixels"
    reads_cells = False

    def __init__(
        self,
        n_segments: int = 50,
        compactness: float = 20.0,
        sigma: float = 1.0,
        iterations: int = 10,
        merge_threshold: float | None = None,
        method: str = "fast",
    ) -> None:
        if n_segments < 1 or iterations < 1:
            raise ValueError(f"n_segments ({n_segments}) and iterations ({iterations}) must be at least 1.")
        if compactness <= 0 or sigma < 0:
            raise ValueError(f"compactness ({compactness}) must be above 0 and sigma ({sigma}) not below 0.")
        if method not in METHODS:
            raise ValueError(f"Unknown superpixel method {method!r}; choose one of {', '.join(METHODS)}.")
        self.n_segments = n_segments
        self.compactness = compactness
        self.sigma = sigma
        self.iterations = iterations
        self.merge_threshold = merge_threshold
        self.method = method

    def __call__(self, image: NdarrayOrTensor) -> NdarrayOrTensor:
        """Compute the superpixels of one tile.

        Args:
            image: (3, H, W) uint8, array, tensor or MetaTensor.

        Returns:
            (1, H, W) int32 in the container type of the image, labels 0 to V - 1, each one 4-connected piece. A tile
            of one color is one superpixel.

        Raises:
            InputError: the image is not (3, H, W) uint8.
        """
        labels = self.label(image_as_hwc(image))
        return convert_to_dst_type(labels[None], image, dtype=np.int32)[0]

    def settings(self) -> dict[str, Any]:
        """See :class:`~hmgdm_monai.transforms.entity_cutter.EntityCutter`."""
        return {
            "superpixels": {
                "n_segments": int(self.n_segments),
                "compactness": float(self.compactness),
                "sigma": float(self.sigma),
                "iterations": int(self.iterations),
                "merge_threshold": None if self.merge_threshold is None else float(self.merge_threshold),
                "method": self.method,
            }
        }

    def cut(self, image: NdarrayOrTensor, mpp: float | None = None, outlines: np.ndarray | None = None) -> CutTile:
        """See :class:`~hmgdm_monai.transforms.entity_cutter.EntityCutter`; superpixels that touch have an edge."""
        labels = self.label(image_as_hwc(image))
        return CutTile(labels[None], region_adjacency(labels))

    def label(self, image: np.ndarray) -> np.ndarray:
        """Superpixels (H, W) int32 of a tile (H, W, 3) uint8."""
        if self.method == "fast":
            labels = slic(image, self.n_segments, self.compactness, self.sigma, self.iterations)
        else:
            labels = self._reference(image)
        if self.merge_threshold is not None:
            labels = merge_similar_neighbors(image, labels, self.merge_threshold)
        return labels

    def _reference(self, image: np.ndarray) -> np.ndarray:
        from skimage.measure import label
        from skimage.segmentation import slic as reference_slic

        if (image == image[0, 0]).all():
            return np.zeros(image.shape[:2], np.int32)
        labels = reference_slic(
            image,
            n_segments=self.n_segments,
            compactness=self.compactness,
            sigma=self.sigma,
            max_num_iter=self.iterations,
            start_label=0,
            enforce_connectivity=True,
        )
        # Relabel, because on tiles of a few pixels the reference can leave labels without pixels or in several pieces.
        return (label(labels, background=-1, connectivity=1) - 1).astype(np.int32)


class Superpixelsd(MapTransform):
    """Dictionary version of :class:`Superpixels`.

    Args:
        keys: keys of the tiles, (3, H, W) uint8.
        label_map_keys: output key of each label map, one for each of ``keys``.
        allow_missing_keys: skip missing keys instead of raising.
        **settings: arguments of :class:`Superpixels`.
    """

    backend = Superpixels.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_map_keys: KeysCollection = "label_map",
        allow_missing_keys: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_map_keys = one_key_each(self.keys, label_map_keys, "label_map_keys")
        self.superpixels = Superpixels(**settings)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the superpixels of each tile added."""
        d = dict(data)
        for key, label_map_key in self.key_iterator(d, self.label_map_keys):
            d[label_map_key] = self.superpixels(d[key])
        return d


def image_as_hwc(image: NdarrayOrTensor) -> np.ndarray:
    """Convert a tile (3, H, W) uint8 of any container type to a view (H, W, 3).

    Raises:
        InputError: the tile has another shape or type, or no pixel.
    """
    array = convert_to_numpy(image)
    if array.ndim != 3 or array.shape[0] != 3 or array.size == 0 or array.dtype != np.uint8:
        raise InputError(
            f"A tile must be uint8 of shape (3, H, W), channels first, not {array.dtype} {tuple(array.shape)}."
        )
    return array.transpose(1, 2, 0)


def one_key_each(keys: tuple[Hashable, ...], out_keys: KeysCollection, name: str) -> tuple[Hashable, ...]:
    """Convert output keys to a tuple with one key for each input key.

    Args:
        keys: input keys.
        out_keys: output keys, one or several.
        name: name of the argument, for the message.

    Raises:
        ValueError: the numbers of keys differ.
    """
    out = ensure_tuple(out_keys)
    if len(out) != len(keys):
        raise ValueError(f"{name} names {len(out)} keys for {len(keys)} inputs; give one for each.")
    return out
