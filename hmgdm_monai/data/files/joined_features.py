"""Features of several encoders for the tiles of one slide, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hmgdm_monai.data.files.features_file import Features, features_shape, read_features
from hmgdm_monai.errors import InputError


def read_joined_features(paths: Sequence[Path]) -> Features:
    """Read the features of a slide by one encoder or several, and join them tile by tile.

    Where both files have coordinates, tiles are matched by them, in the order of the first file. Otherwise both must
    have equally many tiles, in the same order.

    Args:
        paths: features file of each encoder.

    Returns:
        Features (M, D_1 + D_2 + ...), with coordinates and attributes of the first file.

    Raises:
        InputError: a file cannot be used, or the tiles of two files do not match.
    """
    return _joined([read_features(path) for path in paths], paths)


def _joined(parts: Sequence[Features], paths: Sequence[Path]) -> Features:
    first = parts[0]
    others = [_matched(first, paths[0], part, path) for part, path in zip(parts[1:], paths[1:], strict=True)]
    features = np.concatenate((first.features, *others), 1) if others else first.features
    return Features(features, first.coords, first.scores, first.attrs)


def joined_channels(paths: Sequence[Path]) -> tuple[int, ...]:
    """Return the number of channels of each encoder, without reading the features.

    Args:
        paths: features file of each encoder.
    """
    return tuple(features_shape(path)[1] for path in paths)


def usable_features(
    files: Mapping[str, tuple[Path, ...]], need_coords: bool = False
) -> tuple[dict[str, tuple[Path, ...]], dict[str, str]]:
    """Read all files once, so that a bad file is found at the start of a run and not hours later.

    If more than half of the slides have the same number of channels, the others cannot be used.

    Args:
        files: features files of each encoder, by row id.
        need_coords: a slide without coordinates cannot be used.

    Returns:
        The files of the usable slides, and for each unusable slide: row id -> reason, one line.
    """
    channels: dict[str, tuple[int, ...]] = {}
    faults: dict[str, str] = {}
    for row_id, paths in tqdm(files.items(), desc="features", unit="slide", leave=False):
        try:
            parts = [read_features(path) for path in paths]
            found = _joined(parts, paths)
        except InputError as error:
            faults[row_id] = str(error)
            continue
        if need_coords and found.coords is None:
            faults[row_id] = (
                f"{paths[0]}: has no coords, which spatial neighbors need; write them, or set spatial_k to 0"
            )
            continue
        channels[row_id] = tuple(part.features.shape[1] for part in parts)
    usual, count = next(iter(Counter(channels.values()).most_common(1)), ((), 0))
    if 2 * count > len(channels):
        for row_id, numbers in channels.items():
            if numbers != usual:
                shown, most = (" + ".join(map(str, one)) for one in (numbers, usual))
                faults[row_id] = (
                    f"{files[row_id][0]}: {shown} channels, but most have {most}; use the same encoders for all"
                )
    return {row_id: paths for row_id, paths in files.items() if row_id not in faults}, faults


def _matched(first: Features, first_path: Path, other: Features, path: Path) -> np.ndarray:
    """Return the features of another encoder in the order of the first one's tiles."""
    count = len(first.features)
    if len(other.features) != count:
        raise InputError(
            f"{path}: {len(other.features)} tiles, but {first_path} has {count}; extract both encoders' features from "
            "the same tiles"
        )
    if first.coords is None or other.coords is None:
        return other.features
    order, theirs = np.lexsort(first.coords.T), np.lexsort(other.coords.T)
    if not np.array_equal(first.coords[order], other.coords[theirs]):
        raise InputError(
            f"{path}: its tiles lie elsewhere than those of {first_path}; extract both encoders' features from the "
            "same tiles"
        )
    found = np.empty_like(other.features)
    found[order] = other.features[theirs]
    return found
