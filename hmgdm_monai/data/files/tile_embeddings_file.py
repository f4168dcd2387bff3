"""Files of embeddings: the embeddings of many plain tiles in one HDF5 file, and the row ids in such files."""

from __future__ import annotations

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


def read_tile_embeddings(path: Path | str) -> tuple[np.ndarray, list[str]]:
    """Read features (N, S) float32 and ids (N) from an ``embeddings.h5``.

    Args:
        path: path of the file.

    Returns:
        The features and the ids.

    Raises:
        InputError: the file does not exist or is of another kind.

    Example:
        >>> import h5py, numpy as np
        >>> from hmgdm_monai import read_tile_embeddings
        >>> with h5py.File("embeddings.h5", "w") as file:
        ...     file["features"], file["ids"] = np.ones((2, 16)), ["tiles/a", "tiles/b"]
        >>> features, ids = read_tile_embeddings("embeddings.h5")
        >>> features.shape, ids
        ((2, 16), ['tiles/a', 'tiles/b'])
    """
    with opened_hdf5(path, "file of tile embeddings", "run inference.json to make one") as file:
        features, ids = (checked_dataset(file, name) for name in ("features", "ids"))
        if features is None or ids is None:
            raise InputError(f"{path}: is not a file of tile embeddings; run inference.json to make one")
        check_declared(ids, "ids")
        return read_numbers(features, "features").astype(np.float32), list(ids.asstr()[:])


def write_tile_embeddings(
    path: Path,
    features: np.ndarray,
    ids: list[str],
    coords: np.ndarray,
    attrs: dict[str, Any],
    scores: np.ndarray | None,
) -> None:
    """Write the embeddings of plain tiles, completely or not at all.

    Args:
        path: file to write.
        features: embeddings, (N, S).
        ids: N row ids.
        coords: (N, 2) level-0 positions.
        attrs: attributes of the file.
        scores: (N, K) class scores; None writes none.

    Raises:
        InputError: the disk is full.
    """
    with whole_hdf5(path) as (file, _):
        file["features"] = features.astype(np.float32)
        file.create_dataset("ids", data=ids, dtype=h5py.string_dtype())
        file["coords"] = coords
        if scores is not None:
            file["scores"] = scores
        write_attributes(file, attrs)


def stored_ids(path: Path, key: str) -> set[str] | None:
    """Row ids in a file that was written with this key; None if it does not exist, is damaged or has another key.

    Args:
        path: path of the file.
        key: key that identifies the settings of the embeddings.
    """
    try:
        with h5py.File(path, "r") as file:
            attrs = read_attributes(file)
            if attrs.get("key") != key:
                return None
            return set(file["ids"].asstr()[:]) if "ids" in file else {attrs["id"]}
    except (OSError, KeyError, RuntimeError, TypeError, ValueError):
        return None
