"""Arrays that are computed once and read again afterwards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np


def kept(folder: Path, key: Sequence[str], compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays by name, computed where there is no file for the key, and written whole or not at all.

    Args:
        folder: of the files.
        key: all that shapes the arrays.
        compute: gives them.
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
