"""Find the configs and models of the bundle."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.errors import InputError

_BESIDE = Path(__file__).resolve().parents[2]  # the folder that holds the package


def bundle_file(name: str, root: Path | str | None = None) -> Path:
    """Return the path of a file of the bundle.

    Args:
        name: path relative to the bundle's folder, e.g. ``configs/train.json`` or ``models/model.pt``.
        root: folder of the bundle. None searches two places: ``bundle/`` beside the package, as in a checkout, and the
            folder that holds the package, as in a bundle of the Model Zoo.

    Raises:
        InputError: the file is in none of these folders.
    """
    places = [_BESIDE / "bundle", _BESIDE] if root is None else [Path(root)]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise InputError(
        f"{name}: looked for in {' and '.join(str(place) for place in places)} and not found; a plain wheel does not "
        "contain the bundle: use a checkout (pip install -e .), or give the folder of the bundle"
    )
