"""Features of tiles in HDF5, in the layout that CLAM and TRIDENT write: of any encoder, ours included."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hmgdm_monai.data.whole_file import whole_hdf5
from hmgdm_monai.errors import InputError


@dataclass(frozen=True)
class Features:
    """What the tiles of a slide were turned into.

    Attributes:
        features: (M, D) float32.
        coords: (M, 2) level-0 x, y of the tiles' top-left corners, as they were stored; None where there are none.
        scores: (M, K) float32, probabilities of classes; None where there are none.
        attrs: attributes of the file and of its data sets, e.g. mpp and tile size.
    """

    features: np.ndarray
    coords: np.ndarray | None
    scores: np.ndarray | None = None
    attrs: dict[str, Any] = field(default_factory=dict)


def write_features(
    path: Path | str,
    features: np.ndarray,
    coords: np.ndarray | None = None,
    attrs: Mapping[str, Any] | None = None,
    scores: np.ndarray | None = None,
) -> Path:
    """Write a features file, whole or not at all.

    Args:
        path: where it is to stand.
        features: (M, D), kept as float32.
        coords: (M, 2) level-0 x, y.
        attrs: numbers and strings that belong to the slide.
        scores: (M, K) probabilities of classes.

    Raises:
        ValueError: shapes that do not match.
        InputError: the disk is full.
    """
    path, features = Path(path), np.asarray(features, np.float32)
    if features.ndim != 2 or (coords is not None and np.shape(coords) != (len(features), 2)):
        raise ValueError(f"features of shape {features.shape} with coords of shape {np.shape(coords)}")
    with whole_hdf5(path) as (file, _):
        file["features"] = features
        if coords is not None:
            file["coords"] = np.asarray(coords)
        if scores is not None:
            file["scores"] = np.asarray(scores, np.float32)
        file.attrs.update(dict(attrs or {}))
    return path


def read_features(path: str | os.PathLike[str]) -> Features:
    """Read a features file of any encoder.

    Half precision becomes float32, and a leading axis of 1, as some versions of these tools write it, is dropped.

    Raises:
        InputError: not an HDF5 file, no `features` in it, no tiles, shapes that do not match, or values that are not
            finite.
    """
    with _opened(path) as file:
        features = np.asarray(_features_of(file, path)[()], np.float32)
        coords = np.asarray(file["coords"][()]) if "coords" in file else None
        scores = np.asarray(file["scores"][()], np.float32) if "scores" in file else None
        attrs: dict[str, Any] = {}
        for source in (file, file["features"], file.get("coords")):
            attrs.update({} if source is None else {name: _plain(value) for name, value in source.attrs.items()})
    features = features.reshape(features.shape[-2:])
    if coords is not None:
        coords = coords.reshape(coords.shape[-2:]) if coords.ndim >= 2 else coords
        if coords.shape != (len(features), 2):
            raise InputError(
                f"{path}: coords of shape {coords.shape} do not fit {len(features)} features; "
                "write one x, y for each tile, or leave coords out"
            )
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features).all(1)).sum())
        raise InputError(f"{path}: the features of {bad} of {len(features)} tiles are not finite; extract them again")
    return Features(features, coords, scores, attrs)


def features_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(M, D) of a features file, without reading it; errors are those of :func:`read_features`."""
    with _opened(path) as file:
        shape = _features_of(file, path).shape
    return int(shape[-2]), int(shape[-1])


def _opened(path: str | os.PathLike[str]) -> h5py.File:
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such features file; mend the manifest's features column")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not an HDF5 file, or damaged ({error}); extract its features again") from error


def _features_of(file: h5py.File, path: str | os.PathLike[str]) -> h5py.Dataset:
    found = file.get("features")
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{path}: holds no data set `features`; those there are {', '.join(file) or 'none'}")
    shape = found.shape
    if not (len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)) or 0 in shape:
        raise InputError(f"{path}: features must be tiles x channels with one tile at least, not {shape}")
    return found


def _plain(value: Any) -> Any:
    """An attribute as plain Python has it."""
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value
