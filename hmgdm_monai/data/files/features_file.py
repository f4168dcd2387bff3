"""Read and write tile features of any encoder: HDF5 of CLAM, TRIDENT and STAMP, and PyTorch files of CLAM."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hmgdm_monai.data.files.hdf5_reading import (
    check_declared,
    checked_dataset,
    opened_hdf5,
    read_attributes,
    read_numbers,
    write_attributes,
)
from hmgdm_monai.data.files.whole_file import whole_hdf5
from hmgdm_monai.errors import InputError

_WHAT, _ADVICE = "features file", "extract its features again"
_NAMES = ("features", "feats")  # of CLAM and TRIDENT, of STAMP
_TENSOR_SUFFIXES = (".pt", ".pth")


@dataclass(frozen=True)
class Features:
    """The features of the tiles of a slide.

    Attributes:
        features: (M, D) float32.
        coords: (M, 2) level-0 (x, y) of the tiles' top-left corners, in the stored type; None if there are none.
        scores: (M, K) float32, class probabilities; None if there are none.
        attrs: attributes of the file and of its datasets, for example mpp and tile size. Texts of variable length are
            left out; see :func:`~hmgdm_monai.data.files.hdf5_reading.read_attributes`.
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
    """Write a features file, completely or not at all.

    Args:
        path: file to write.
        features: (M, D), stored as float32.
        coords: (M, 2) level-0 (x, y); None writes none.
        attrs: numbers and strings that describe the slide; None writes none.
        scores: (M, K) class probabilities; None writes none.

    Returns:
        Path of the file.

    Raises:
        ValueError: the shapes do not match.
        InputError: the disk is full.
    """
    path, features = Path(path), np.asarray(features, np.float32)
    if features.ndim != 2 or (coords is not None and np.shape(coords) != (len(features), 2)):
        found = None if coords is None else np.shape(coords)
        raise ValueError(f"features of shape {features.shape} with coords of shape {found}")
    with whole_hdf5(path) as (file, _):
        file["features"] = features
        if coords is not None:
            file["coords"] = np.asarray(coords)
        if scores is not None:
            file["scores"] = np.asarray(scores, np.float32)
        write_attributes(file, attrs or {})
    return path


def read_features(path: str | os.PathLike[str]) -> Features:
    """Read a features file of any encoder.

    Half precision is converted to float32. A leading axis of size 1, which some versions of these tools write, is
    dropped. Coordinates stay in the unit of the file: level-0 pixels of CLAM and TRIDENT, microns of STAMP.

    Args:
        path: path of the file of one slide: HDF5 with `features` (or `feats`) and optional `coords`; or a file of
            ``torch.save`` (.pt) with a tensor (M, D), read without running code.

    Raises:
        InputError: the file is neither of these or is damaged, has no `features` or no tiles, its shapes do not match,
            its values are not finite numbers, it links to other files, or it declares more data than it can hold.

    Example:
        >>> import h5py, numpy as np
        >>> from hmgdm_monai import read_features
        >>> with h5py.File("slide.h5", "w") as file:  # as CLAM and TRIDENT write it
        ...     file["features"], file["coords"] = np.ones((5, 16)), np.zeros((5, 2))
        >>> slide = read_features("slide.h5")
        >>> slide.features.shape, slide.coords.shape
        ((5, 16), (5, 2))
    """
    attrs: dict[str, Any] = {}
    coords = scores = None
    if Path(path).suffix.lower() in _TENSOR_SUFFIXES:
        features = _tensor(path)
    else:
        with opened_hdf5(path, _WHAT, _ADVICE) as file:
            stored = _features_of(file, path)
            features = read_numbers(stored, "features")
            optional = {name: checked_dataset(file, name) for name in ("coords", "scores")}
            coords, scores = (None if one is None else read_numbers(one, name) for name, one in optional.items())
            for source in (file, stored, optional["coords"]):
                attrs |= {} if source is None else read_attributes(source)
    with np.errstate(over="ignore"):  # overflow raises below
        features = features.astype(np.float32).reshape(features.shape[-2:])
    _check_finite(features, "features", path)
    if coords is not None:
        coords = coords.reshape(coords.shape[-2:]) if coords.ndim >= 2 else coords
        if coords.shape != (len(features), 2):
            raise InputError(
                f"{path}: coords of shape {coords.shape} do not fit {len(features)} features; "
                "write one x, y for each tile, or leave coords out"
            )
        _check_finite(coords, "coords", path)
    if scores is not None:
        if scores.ndim != 2 or len(scores) != len(features):
            raise InputError(
                f"{path}: scores of shape {scores.shape} do not fit {len(features)} features; write a row for each tile"
            )
        scores = scores.astype(np.float32)
        _check_finite(scores, "scores", path)
    return Features(features, coords, scores, attrs)


def features_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Shape (M, D) of a features file, without reading the features; errors are those of :func:`read_features`."""
    if Path(path).suffix.lower() in _TENSOR_SUFFIXES:
        shape = _tensor(path).shape
    else:
        with opened_hdf5(path, _WHAT, _ADVICE) as file:
            shape = _features_of(file, path).shape
    return int(shape[-2]), int(shape[-1])


def _tensor(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the features of a file of ``torch.save``, float32."""
    import torch

    from hmgdm_monai.data.files.checkpoint_file import DAMAGED, load_tensors

    try:
        found = load_tensors(Path(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such features file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except DAMAGED as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: is no file of torch.save or is damaged ({first[:120]}); {_ADVICE}") from None
    if not isinstance(found, torch.Tensor) or found.is_complex() or found.dtype == torch.bool:
        raise InputError(f"{path}: must hold one tensor of numbers, tiles x channels, as CLAM writes it; {_ADVICE}")
    _check_shape(tuple(found.shape), path)
    return found.float().numpy()


def _features_of(file: h5py.File, path: str | os.PathLike[str]) -> h5py.Dataset:
    found = next((one for name in _NAMES if (one := checked_dataset(file, name)) is not None), None)
    if found is None:
        raise InputError(f"{path}: holds no data set `features`; existing data sets are {', '.join(file) or 'none'}")
    _check_shape(found.shape or (), path)
    check_declared(found, "features")
    return found


def _check_shape(shape: tuple[int, ...], path: str | os.PathLike[str]) -> None:
    if not (len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)) or 0 in shape:
        raise InputError(f"{path}: features must be tiles x channels with at least one tile, not {shape}")


def _check_finite(values: np.ndarray, name: str, path: str | os.PathLike[str]) -> None:
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).all(1)).sum())
        raise InputError(f"{path}: the {name} of {bad} of {len(values)} tiles are not finite; extract them again")
