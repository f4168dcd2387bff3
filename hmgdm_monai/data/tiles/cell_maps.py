"""Read cells that another program detected, as label maps (PNG, NPY) or outlines (GeoJSON), window by window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hmgdm_monai.data.files.geojson_reading import ShapeIndex, read_shapes
from hmgdm_monai.data.slides.image_backend import image_limit_px, opened_image
from hmgdm_monai.errors import InputError

UNKNOWN = -1  # a cell whose class is not in the list of classes
OBJECT_TYPES = ("cell", "detection")  # QuPath's types for cells; other objects in the same file are regions
SHOWN = 5  # maximum number of unknown classes in a note
_ROWS_AT_ONCE = 4096
_GEOJSON = (".geojson", ".json")


class CellMapError(InputError):
    """A cell file that cannot be used for its image; other images are not affected."""


class CellMap:
    """The cells of one image.

    Attributes:
        path: path of the file.
        notes: one line for each kind of skipped object, with the number of objects; empty if nothing was skipped.
    """

    path: Path
    notes: tuple[str, ...]

    def window(self, location_px: Sequence[float], pixel_px: float, size_px: int) -> np.ndarray:
        """Classes of the cells in a square window, by nearest neighbor.

        Args:
            location_px: upper left corner, (x, y) in level-0 pixels.
            pixel_px: size of a window pixel in level-0 pixels.
            size_px: size S of the window in its own pixels.

        Returns:
            (S, S) int32: 0 for no cell, also outside the image; otherwise the class, 1 to K in the order of the list
            of classes (1 if there is no list), or `UNKNOWN`.
        """
        raise NotImplementedError

    def instances(self, location_px: Sequence[float], pixel_px: float, size_px: int) -> np.ndarray:
        """Instances of the cells in the same window: each cell has its own number, independent of its class.

        Args:
            location_px: upper left corner, (x, y) in level-0 pixels.
            pixel_px: size of a window pixel in level-0 pixels.
            size_px: size S of the window in its own pixels.

        Returns:
            (S, S) int64: 0 for no cell, also outside the image; otherwise a number above 0. Of a cell that crosses
            the border, the visible part is returned.
        """
        raise NotImplementedError


def open_cell_map(
    path: Path | str,
    image_size_px: tuple[int, int],
    classes: Sequence[str] | None = None,
    labels: Literal["instances", "classes"] = "instances",
) -> CellMap:
    """Open the cells of an image.

    Args:
        path: a label map as PNG (one channel, up to 16 bits) or NPY (2-D, integer), of the image's size at level 0 and
            with 0 for no cell; or GeoJSON in level-0 pixels. If a GeoJSON file has QuPath cells or detections, only
            these are used, not the annotations around them.
        image_size_px: (width, height) of the image at level 0.
        classes: names of K cell classes; None treats all cells as one class, whatever their class names.
        labels: meaning of the numbers in a label map: "instances", one number per cell, or "classes", k for the k-th
            of `classes` (any number if there is no list). Ignored for GeoJSON, which has class names.

    Returns:
        The cells of the image.

    Raises:
        CellMapError: the file does not exist, is not of these kinds, or is a label map of another size than the image.
        InputError: classes are requested from a label map of instances, which has none.
    """
    path = Path(path)
    if labels not in ("instances", "classes"):
        raise InputError(f"cells: labels must be 'instances' or 'classes', not {labels!r}")
    if not path.is_file():
        raise CellMapError(f"{path}: no such file of cells; correct the manifest's cells column")
    if path.suffix.lower() in _GEOJSON:
        return _Outlines(path, image_size_px, classes)
    if classes is not None and labels == "instances":
        raise CellMapError(f"{path}: a label map of instances has no classes; give a class map or GeoJSON")
    return _Raster(path, _read_raster(path), image_size_px, classes)


class _Raster(CellMap):
    """A label map of the image's size."""

    def __init__(
        self, path: Path, array: np.ndarray, image_size_px: tuple[int, int], classes: Sequence[str] | None
    ) -> None:
        width, height = image_size_px
        if array.shape != (height, width):
            raise CellMapError(
                f"{path}: the label map is {array.shape[1]} x {array.shape[0]} px, its image {width} x {height}; "
                "export it at the image's full size"
            )
        self.path = path
        self.array = array
        self.count = None if classes is None else len(classes)
        self.notes = self._unknown_labels()

    def _unknown_labels(self) -> tuple[str, ...]:
        if self.count is None:
            return ()
        found: Counter[int] = Counter()
        for start in range(0, len(self.array), _ROWS_AT_ONCE):
            values, counts = np.unique(self.array[start : start + _ROWS_AT_ONCE], return_counts=True)
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                if not 0 <= value <= self.count:
                    found[value] += count
        if not found:
            return ()
        total = sum(found.values())
        return (
            f"{self.path}: skipped {total} px of class ids beyond the {self.count} listed ({_most_frequent(found)})",
        )

    def window(self, location_px: Sequence[float], pixel_px: float, size_px: int) -> np.ndarray:
        taken = self._sampled(location_px, pixel_px, size_px)
        if self.count is None:
            taken = taken != 0
        else:
            taken = np.where((taken >= 0) & (taken <= self.count), taken, UNKNOWN)
        return taken.astype(np.int32)

    def instances(self, location_px: Sequence[float], pixel_px: float, size_px: int) -> np.ndarray:
        return np.maximum(self._sampled(location_px, pixel_px, size_px), 0)

    def _sampled(self, location_px: Sequence[float], pixel_px: float, size_px: int) -> np.ndarray:
        """The numbers of the map (S, S) int64; 0 outside the map."""
        steps = (np.arange(size_px) + 0.5) * pixel_px
        columns, rows = (np.floor(start + steps).astype(np.int64) for start in location_px)
        height, width = self.array.shape
        across, down = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
        window = np.zeros((size_px, size_px), np.int64)
        if not across.any() or not down.any():
            return window
        block = np.asarray(self.array[rows[down][0] : rows[down][-1] + 1, columns[across][0] : columns[across][-1] + 1])
        taken = block[np.ix_(rows[down] - rows[down][0], columns[across] - columns[across][0])]
        window[np.ix_(down, across)] = taken.astype(np.int64)
        return window


class _Outlines(CellMap):
    """Polygons of a GeoJSON file."""

    def __init__(self, path: Path, image_size_px: tuple[int, int], classes: Sequence[str] | None) -> None:
        try:
            shapes, skipped = read_shapes(path)
        except InputError as error:
            raise CellMapError(str(error)) from error
        notes = []
        if skipped:
            notes.append(
                f"{path}: skipped {sum(skipped.values())} shapes that are not cells ({_most_frequent(skipped)})"
            )
        if any(shape.object_type in OBJECT_TYPES for shape in shapes):
            others = Counter(
                shape.object_type or "no type" for shape in shapes if shape.object_type not in OBJECT_TYPES
            )
            if others:
                total = sum(others.values())
                notes.append(
                    f"{path}: skipped {total} shapes that are neither cells nor detections ({_most_frequent(others)})"
                )
            shapes = [shape for shape in shapes if shape.object_type in OBJECT_TYPES]
        index = ShapeIndex(shapes)
        inside = np.zeros(len(shapes), bool)
        inside[index.touching((0, 0), image_size_px)] = True
        if outside := int((~inside).sum()):
            width, height = image_size_px
            notes.append(
                f"{path}: {outside} of {len(shapes)} shapes lie outside the image ({width} x {height} px); "
                "check that coordinates are level-0 pixels"
            )
        self.values = np.ones(len(shapes), np.int32)
        if classes is not None:
            numbers = {name: number for number, name in enumerate(classes, 1)}
            self.values[:] = [numbers.get(shape.class_name or "", UNKNOWN) for shape in shapes]
            unknown = Counter(
                shape.class_name or "no class"
                for shape, value in zip(shapes, self.values, strict=True)
                if value == UNKNOWN
            )
            if unknown:
                total = sum(unknown.values())
                notes.append(
                    f"{path}: skipped {total} cells of classes that are not listed ({_most_frequent(unknown)})"
                )
        self.path = path
        self.index = index
        self.notes = tuple(notes)

    def window(self, location_px: Sequence[float], pixel_px: float, size_px: int) -> np.ndarray:
        return self.index.rasterize(self.values, location_px, pixel_px, size_px)

    def instances(self, location_px: Sequence[float], pixel_px: float, size_px: int) -> np.ndarray:
        # The parts of a MultiPolygon are one cell.
        numbers = np.array([shape.feature + 1 for shape in self.index.shapes], np.int64)
        return self.index.rasterize(numbers, location_px, pixel_px, size_px).astype(np.int64)


def _read_raster(path: Path) -> np.ndarray:
    """Read an integer label map (H, W); an NPY file is memory-mapped, so that a whole slide need not fit."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        elif suffix == ".png":
            with opened_image(path, image_limit_px()) as image:
                array = np.asarray(image)
        else:
            raise CellMapError(f"{path}: cells are read from PNG, NPY and GeoJSON, not {suffix or 'this'}; convert it")
    except CellMapError:
        raise
    except InputError as error:
        raise CellMapError(f"{error}, or write it as NPY") from error
    except Exception as error:  # Pillow and NumPy raise many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CellMapError(f"{path}: not a readable label map ({reason}); write it again, as NPY if large") from error
    if array.dtype == bool:
        array = array.view(np.uint8)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise CellMapError(
            f"{path}: a label map is 2-D of integers, one channel, not {array.shape} {array.dtype}; convert it"
        )
    return array


def _most_frequent(counts: dict[str, int] | Counter) -> str:
    """Format the most frequent names with their counts."""
    first = Counter(counts).most_common(SHOWN)
    return ", ".join(f"{name}: {count}" for name, count in first) + (", ..." if len(counts) > SHOWN else "")
