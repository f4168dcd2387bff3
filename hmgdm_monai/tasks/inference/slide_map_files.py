"""Write the map of a slide in superpixels: PNG, NIfTI and a pyramid for each quantity, and one GeoJSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.heatmap_pyramid import write_heatmap_pyramid
from hmgdm_monai.data.files.nifti_map import write_nifti_map
from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.stores.slide_map import SlideMap, opened_slide_map
from hmgdm_monai.tasks.inference.entity_values import Measure
from hmgdm_monai.tasks.inference.map_polygons import Leading, write_map_polygons
from hmgdm_monai.tasks.inference.maps import THUMBNAIL_PX, class_colors
from hmgdm_monai.visualize.heatmap import Placed, colors_of, draw_heatmap
from hmgdm_monai.visualize.save import save_figure


def write_entity_map_files(
    row: ManifestRow,
    path: Path,
    measures: Sequence[Measure],
    spans: Mapping[str, tuple[float, float]],
    folder: Path,
    stem: str,
    classes: Sequence[str] | None,
    most_bytes: int,
    note: str | None = None,
) -> list[Path]:
    """Write the files of one slide.

    Args:
        row: row of the slide.
        path: its map, a file of :class:`~hmgdm_monai.tasks.inference.entity_maps.EntityMaps`.
        measures: quantities of the map.
        spans: name -> range of the colors.
        folder: output folder.
        stem: start of the file names; any text.
        classes: class names of the classifier; None without one.
        most_bytes: limit of the size of the GeoJSON.
        note: small text of the figures.

    Returns:
        Paths of the files.

    Raises:
        InputError: the slide cannot be read, or the disk is full.
    """
    with closing(open_slide(row.image, mpp=row.mpp)) as slide:
        thumbnail, downsample = slide.thumbnail(THUMBNAIL_PX)
    tissue = Placed(thumbnail, (0.0, 0.0), downsample)
    written = []
    with opened_slide_map(path) as found:
        target = folder / f"{safe_name(f'{stem}_superpixels')}.geojson"
        colors = {} if classes is None else class_colors(classes)
        leading = _leading(measures, spans, classes)
        written.append(write_map_polygons(target, found, leading, colors, row.id, most_bytes))
        height, width = found.values.shape[1:]
        shrink = -(-max(height, width) // THUMBNAIL_PX)
        for measure in measures:
            name = f"{stem}_{measure.name}"
            span = spans[measure.name]
            small = Placed(found.plane(measure.name, shrink), (0.0, 0.0), found.pixel_px * shrink)
            title = f"{row.image.name}: {measure.name}"
            figure = draw_heatmap(tissue, small, measure.label, found.mpp, title, span, note)
            written.append(save_figure(figure, folder / f"{safe_name(name)}.png", dpi=110))
            nifti = folder / f"{safe_name(name)}.nii.gz"
            written.append(write_nifti_map(nifti, found.plane(measure.name), (0.0, 0.0), found.pixel_px, found.mpp))
            written.append(_write_pyramid(folder / f"{safe_name(name)}.ome.tif", found, measure, span, (width, height)))
    return written


def _write_pyramid(
    path: Path, found: SlideMap, measure: Measure, span: tuple[float, float], size_px: tuple[int, int]
) -> Path:
    return write_heatmap_pyramid(
        path,
        partial(found.plane, measure.name),
        lambda values: colors_of(np.asarray(values), span),
        size_px,
        found.pixel_px * found.mpp,
        f"{measure.label}, {span[0]:.4g} (dark) to {span[1]:.4g} (bright)",
    )


def _leading(
    measures: Sequence[Measure], spans: Mapping[str, tuple[float, float]], classes: Sequence[str] | None
) -> Leading:
    """Predictions of patients' models and class decide what is alike; without either, the principal component."""
    of_classes = None if classes is None else {name: f"probability_{name}" for name in classes}
    names = [one.name for one in measures if one.name == "risk" or one.name.startswith("patient_")]
    if not names and of_classes is None:
        names = [measures[0].name]
    return Leading(names, spans, of_classes)
