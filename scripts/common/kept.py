"""Arrays that are computed once and stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np


def kept(folder: Path, key: Sequence[str], compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return arrays by name; compute them if there is no file for the key, and write it completely or not at all.

    Args:
        folder: folder of the files.
        key: everything that determines the arrays.
        compute: computes the arrays.
    """
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()
    path = folder / f"{digest[:24]}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, **compute())
        partial.replace(path)
    with np.load(path) as saved:
        return dict(saved)
