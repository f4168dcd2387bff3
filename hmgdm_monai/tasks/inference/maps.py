"""Maps as PNG, GeoJSON and NIfTI: values of tiles over a slide, or of superpixels or patches over a tile."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from hmgdm_monai.data.files.geojson import (
    feature_collection,
    object_ids,
    superpixel_polygons,
    tile_polygons,
    write_geojson,
)
from hmgdm_monai.data.files.nifti_map import write_nifti_map
from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.row_cells import RowCells
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
from hmgdm_monai.visualize.heatmap import Placed, colors_of, draw_heatmap, tile_grid, value_range
from hmgdm_monai.visualize.save import save_figure

THUMBNAIL_PX = 1200


@dataclass(frozen=True)
class Quantity:
    """The values that a map shows.

    Attributes:
        name: name in the file names and of the measurement in QuPath, e.g. "attention".
        label: label of the color bar, with unit.
        values: (M,) of tiles, or (N,) of superpixels or patches.
        span: values at both ends of the color scale; None uses the range of this map. The same span for all slides of a
            cohort makes them comparable.
    """

    name: str
    label: str
    values: np.ndarray
    span: tuple[float, float] | None = None


def write_tile_geojson(
    row: ManifestRow,
    coords: np.ndarray,
    about: Mapping[str, Any],
    quantities: Sequence[Quantity],
    folder: Path | str,
    stem: str,
    classes: Sequence[str] | None = None,
) -> Path:
    """Write the GeoJSON of a slide's tiles with all quantities.

    The name of a tile contains its row number in the slide's features. The arguments are those of
    :func:`write_slide_maps`.

    Raises:
        InputError: the disk is full.
    """
    side, first = float(about["tile_size_level0"]), quantities[0]
    collection = feature_collection(
        tile_polygons(coords, side),
        {quantity.name: quantity.values for quantity in quantities},
        colors_of(first.values, first.span or value_range(first.values)),
        classes,
        None if classes is None else class_colors(classes),
        [f"tile {number}" for number in range(len(coords))],
        object_ids(row.id, [(x, y, side) for x, y in np.asarray(coords).tolist()]),
    )
    return write_geojson(Path(folder) / f"{safe_name(stem)}.geojson", collection)


def write_slide_maps(
    row: ManifestRow,
    coords: np.ndarray,
    about: Mapping[str, Any],
    quantities: Sequence[Quantity],
    folder: Path | str,
    stem: str,
    classes: Sequence[str] | None = None,
    note: str | None = None,
) -> list[Path]:
    """Write the maps of one slide: one GeoJSON with all quantities, and a PNG and a NIfTI per quantity.

    In the GeoJSON, the name of a tile contains its row number in the slide's features.

    Args:
        row: row of the slide.
        coords: (M, 2) level-0 upper left corners of the tiles.
        about: attributes of the slide's file of embeddings.
        quantities: values to show; the first quantity colors the GeoJSON.
        folder: output folder.
        stem: start of the file names; any text.
        classes: class name of each tile; None without classes.
        note: small print of the figures.

    Returns:
        Paths of the files.

    Raises:
        InputError: the slide cannot be read, or the disk is full.
    """
    folder = Path(folder)
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        thumbnail, downsample = slide.thumbnail(THUMBNAIL_PX)
    side = float(about["tile_size_level0"])
    step = side * (1 - json.loads(about["settings"])["tile"]["overlap_px"] / float(about["tile_size_px"]))
    # A plain image of unknown scale is assumed to have the scale of the tiles.
    mpp = float(about["mpp"] if math.isnan(about["level0_mpp"]) else about["level0_mpp"])
    written = [write_tile_geojson(row, coords, about, quantities, folder, stem, classes)]
    tissue = Placed(thumbnail, (0.0, 0.0), downsample)
    for quantity in quantities:
        grid = tile_grid(coords, quantity.values, side, step)
        figure = draw_heatmap(
            tissue, grid, quantity.label, mpp, f"{row.image.name}: {quantity.name}", quantity.span, note
        )
        name = f"{stem}_{quantity.name}"
        written.append(save_figure(figure, folder / f"{safe_name(name)}.png", dpi=110))
        file = folder / f"{safe_name(name)}.nii.gz"
        written.append(write_nifti_map(file, grid.pixels, grid.origin_px, grid.pixel_px, mpp))
    return written


@dataclass(frozen=True)
class TileView:
    """A tile as an encoder reads it, and its location (S = side in px).

    Attributes:
        row: row of the slide or plain image.
        image: (3, S, S) uint8, as read.
        sample: sample of the encoder, with the ``label_map`` of its entities.
        location_px: upper left corner in level-0 pixels.
        pixel_px: side of a pixel of the tile in level-0 pixels.
        mpp: microns per level-0 pixel.
    """

    row: ManifestRow
    image: np.ndarray
    sample: Data
    location_px: tuple[int, int]
    pixel_px: float
    mpp: float


def read_tile(row: ManifestRow, location_px: Sequence[int], spec: TileSpec, to_sample: Callable[..., Data]) -> TileView:
    """Read one tile and its entities.

    Args:
        row: row of the slide or plain image.
        location_px: upper left corner in level-0 pixels.
        spec: size and scale of the tile.
        to_sample: turns a tile into a sample; :attr:`TileEncoder.to_sample`.

    Raises:
        InputError: the image or its file of cells cannot be read, or the tile has no entity.
    """
    x, y = (int(part) for part in location_px)
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        image = slide.read_regions(np.array([[x, y]]), spec.size_px, spec.mpp)[0].transpose(2, 0, 1).copy()
        known = {}
        if getattr(to_sample, "reads_cells", False):
            known["outlines"] = RowCells(slide, row, spec.mpp).outlines((x, y), spec.size_px)
        sample = to_sample(image, keep_label_map=True, **known)
        return TileView(row, image, sample, (x, y), slide.downsample_at(spec.mpp), slide.mpp or spec.mpp)


def entity_attention(classifier: GatedTileClassifier, tile: TileView) -> tuple[np.ndarray, np.ndarray]:
    """Return the attention of a classifier's gate to the entities of one tile, and the class probabilities of the tile.

    Args:
        classifier: fine-tuned classifier, on the CPU.
        tile: tile, read with the encoder's ``to_sample``.

    Returns:
        Attention (N,) times N, so that 1 is an even share; and class probabilities (K,).
    """
    with torch.inference_mode():
        prepared = classifier.encoder.prepare(Batch.from_data_list([tile.sample]))
        weights = classifier.attention(prepared).float().numpy()
        return weights * len(weights), classifier(prepared)[0].softmax(0).numpy()


def write_entity_map(
    tile: TileView, quantity: Quantity, folder: Path | str, stem: str, title: str, note: str | None = None
) -> list[Path]:
    """Write the map of one tile as PNG, GeoJSON and NIfTI: superpixels or patches, colored by their values (N,).

    Args:
        tile: the tile.
        quantity: values of its entities.
        folder: output folder.
        stem: start of the file names; any text.
        title: title of the figure.
        note: small print of the figure.

    Returns:
        Paths of the files.

    Raises:
        InputError: the number of values differs from the number of entities, or the disk is full.
    """
    folder, labels = Path(folder), tile.sample.label_map[0].numpy()
    if len(quantity.values) != labels.max() + 1:
        raise InputError(f"{labels.max() + 1} entities need as many values, not {len(quantity.values)}")
    span = quantity.span or value_range(quantity.values)
    side = tile.pixel_px * labels.shape[0]
    collection = feature_collection(
        superpixel_polygons(labels, tile.location_px, tile.pixel_px),
        {quantity.name: quantity.values},
        colors_of(quantity.values, span),
        names=[f"entity {number}" for number in range(len(quantity.values))],
        ids=object_ids(tile.row.id, [(*tile.location_px, side, number) for number in range(len(quantity.values))]),
    )
    name = f"{stem}_x{tile.location_px[0]}_y{tile.location_px[1]}_{quantity.name}"
    pixels = np.where(labels >= 0, quantity.values[labels], np.nan)  # pixels between cells belong to no entity
    painted = Placed(pixels, tile.location_px, tile.pixel_px)
    tissue = Placed(tile.image.transpose(1, 2, 0), tile.location_px, tile.pixel_px)
    figure = draw_heatmap(tissue, painted, quantity.label, tile.mpp, title, span, note)
    return [
        write_geojson(folder / f"{safe_name(name)}.geojson", collection),
        save_figure(figure, folder / f"{safe_name(name)}.png", dpi=110),
        write_nifti_map(
            folder / f"{safe_name(name)}.nii.gz", painted.pixels, tile.location_px, tile.pixel_px, tile.mpp
        ),
    ]


def class_colors(classes: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Return a color for each class name, in alphabetical order."""
    from matplotlib import colormaps

    palette = colormaps["tab10"]
    colors = {}
    for number, name in enumerate(sorted(set(classes))):
        red, green, blue, _ = palette(number % 10)
        colors[name] = (round(255 * red), round(255 * green), round(255 * blue))
    return colors
