"""Find the tiles that a mask of another program keeps: a raster (PNG, TIFF) or regions (GeoJSON)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.geojson_reading import ShapeIndex, read_shapes
from hmgdm_monai.data.slides.image_backend import check_image_size, image_limit_px, opened_image
from hmgdm_monai.data.tiles.regions import AREAS, IGNORED
from hmgdm_monai.data.tiles.tiling import MASK_PX_PER_TILE, MASK_SIDE_PX, share_in_mask
from hmgdm_monai.errors import InputError

ASPECT_TOLERANCE = 0.02  # masks are made from a level or a thumbnail, whose sides are rounded
_GEOJSON = (".geojson", ".json")


@dataclass(frozen=True)
class MaskRule:
    """Which parts of a mask are kept.

    Values are those of the pixels of a raster, or the class names of regions. If neither `inside` nor `outside` is
    given, all values but 0, or all regions but ``Ignore*``, are kept. If only `outside` is given, everything else is
    kept, also where there is no region.

    Attributes:
        inside: values to keep.
        outside: values to leave out, also where they overlap kept regions.
        min_share: least share of a tile that must be kept, above 0 to 1.

    Raises:
        InputError: `min_share` is out of range, or a value is both inside and outside.
    """

    inside: tuple[int | str, ...] = ()
    outside: tuple[int | str, ...] = ()
    min_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("inside", "outside"):  # a config gives lists
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, int | str) else tuple(given or ()))
        if not 0 < self.min_share <= 1:
            raise InputError(f"mask: min_share must lie above 0 and up to 1, not {self.min_share}")
        if both := {str(value) for value in self.inside} & {str(value) for value in self.outside}:
            raise InputError(f"mask: {', '.join(sorted(both))} is both inside and outside; choose one")


def tiles_in_mask(
    path: Path | str, locations: np.ndarray, side_px: float, slide_px: tuple[int, int], rule: MaskRule
) -> np.ndarray:
    """Find the tiles that a mask keeps.

    Args:
        path: PNG or TIFF with one channel that shows the whole slide at any scale, or GeoJSON in level-0 pixels.
        locations: (N, 2) upper left corners of tiles, level-0 pixels.
        side_px: side of a tile, level-0 pixels.
        slide_px: (width, height) of level 0.
        rule: which values are kept.

    Returns:
        (N,) bool.

    Raises:
        InputError: the file cannot be read, has another aspect ratio than the slide, or keeps none of the tiles.
    """
    path = Path(path)
    kept: np.ndarray
    found: Sequence[int | str]
    if path.suffix.lower() in _GEOJSON:
        kept, found = _drawn(path, side_px, slide_px, rule)
    else:
        kept, found = _read(path, slide_px, rule)
    scale = kept.shape[1] / slide_px[0]
    x, y = np.asarray(locations, float).T * scale
    inside = share_in_mask(kept, x, y, side_px * scale) >= rule.min_share
    if not inside.any():
        shown = ", ".join(map(str, found)) or "none"
        raise InputError(
            f"{path}: keeps none of the {len(locations)} tiles; values in it are {shown}; check the mask's settings "
            "inside and outside, and that it belongs to this slide"
        )
    return inside


def _read(path: Path, slide_px: tuple[int, int], rule: MaskRule) -> tuple[np.ndarray, list[int]]:
    """Read a raster; return the kept pixels and the values in it."""
    values = _pixels(path)
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise InputError(f"{path}: a mask must have one channel of whole numbers; export it as a grayscale PNG")
    height = values.shape[1] * slide_px[1] / slide_px[0]
    if abs(values.shape[0] - height) > max(1.0, ASPECT_TOLERANCE * height):
        raise InputError(
            f"{path}: {values.shape[1]} x {values.shape[0]} px do not have the shape of the slide ({slide_px[0]} x "
            f"{slide_px[1]} px); give a mask of the whole slide"
        )
    step = max(1, max(values.shape) // MASK_SIDE_PX[1])
    values = values[::step, ::step].astype(np.int64)
    found = np.unique(values).tolist()
    if rule.inside:
        kept = np.isin(values, _numbers(rule.inside, path))
    else:
        kept = np.ones(values.shape, dtype=bool) if rule.outside else values != 0
    return kept & ~np.isin(values, _numbers(rule.outside, path)), found


def _pixels(path: Path) -> np.ndarray:
    """Read a PNG, or the finest level of a TIFF that is not larger than necessary."""
    import tifffile

    try:
        if path.suffix.lower() not in (".tif", ".tiff"):
            with opened_image(path, image_limit_px()) as image:
                return np.asarray(image)
        with tifffile.TiffFile(path) as tiff:
            levels = tiff.series[0].levels
            level = next((one for one in levels if max(one.shape) <= MASK_SIDE_PX[1]), levels[-1])
            check_image_size(path, level.shape[-1], level.size // level.shape[-1], image_limit_px())
            return level.asarray()
    except InputError:
        raise
    except Exception as error:  # Pillow and tifffile raise many kinds
        raise InputError(f"{path}: cannot be read as an image ({error}); give a PNG or TIFF, or a GeoJSON") from error


def _numbers(values: Iterable[int | str], path: Path) -> list[int]:
    try:
        return [int(value) for value in values]
    except ValueError:
        shown = ", ".join(map(str, values))
        raise InputError(f"{path}: a raster has whole numbers, not the classes {shown}; give its values") from None


def _drawn(path: Path, side_px: float, slide_px: tuple[int, int], rule: MaskRule) -> tuple[np.ndarray, list[str]]:
    """Draw regions; return the kept pixels and the classes in the file."""
    shapes = [shape for shape in read_shapes(path)[0] if shape.object_type in AREAS]
    names = [shape.class_name for shape in shapes]
    inside, outside = ({str(value) for value in values} for values in (rule.inside, rule.outside))
    longest = max(slide_px)
    downsample = max(1.0, longest / np.clip(MASK_PX_PER_TILE * longest / side_px, *MASK_SIDE_PX))
    size_px = (max(1, round(slide_px[1] / downsample)), max(1, round(slide_px[0] / downsample)))

    def covered(chosen: list[bool]) -> np.ndarray:
        index = ShapeIndex([shape for shape, take in zip(shapes, chosen, strict=True) if take])
        return index.rasterize(np.ones(len(index.shapes), int), (0, 0), downsample, size_px) > 0

    if inside:
        kept = covered([name in inside for name in names])
    else:
        kept = np.ones(size_px, dtype=bool) if outside else covered([name != IGNORED for name in names])
    left_out = covered([name in outside or (name == IGNORED and name not in inside) for name in names])
    return kept & ~left_out, sorted({name or "none" for name in names})
