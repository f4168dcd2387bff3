"""Where the bundle around the package keeps its configs and models."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.errors import InputError

_BESIDE = Path(__file__).resolve().parents[2]  # the folder that the package lies in


def bundle_file(name: str, root: Path | str | None = None) -> Path:
    """Path of a file of the bundle.

    Args:
        name: path below the bundle's folder, e.g. ``configs/train.json`` or ``models/model.pt``.
        root: the bundle's folder; None looks beside the package: in ``bundle/``, as in a checkout, and where the
            package itself lies, as in the bundle of the Model Zoo.

    Raises:
        InputError: the file is in none of these.
    """
    places = [_BESIDE / "bundle", _BESIDE] if root is None else [Path(root)]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise InputError(
        f"{name}: looked for in {' and '.join(str(place) for place in places)} and not found; a plain wheel holds no "
        "bundle: use a checkout (pip install -e .), or give the folder that holds it"
    )
