"""Inference: the class of a tile or region, and the tiles of a slide with their classes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from hmgdm_monai.data.slides.slide import Slide, open_slide
from hmgdm_monai.errors import InputError
from lib.answers import annotation, prediction, tile_answers
from lib.bundle_model import BundleModel
from lib.limits import Limits
from lib.regions import is_tile, number, read_tiles, region_of, tiles_in, tiles_over


class TileInfer(InferTask):
    """Classifies by a bundle's model.

    MONAI Label's own task cuts a slide at its pixels and takes masks for answers; tiles here have a scale in microns
    and a class, so reading, tiling and answering are this project's.

    Args:
        model: whose classes to give.
        limits: ``region_tiles`` and ``slide_tiles``.
    """

    def __init__(self, model: BundleModel, limits: Limits) -> None:
        super().__init__(
            type=InferType.CLASSIFICATION,
            labels=None,
            dimension=2,
            description="Classes of H&E tiles, of a region, or of all tiles of a slide",
        )
        self.model = model
        self.limits = limits

    def is_valid(self) -> bool:
        """True: a model that cannot be loaded is refused with a reason when it is asked."""
        return True

    def get_path(self, validate: bool = True) -> str | None:
        """File of the weights that classify now."""
        return str(self.model.path)

    def info(self) -> dict[str, Any]:
        """What clients show, with the reason where the model cannot be used."""
        about = {**super().info(), "pathology": True}
        try:
            about["labels"] = list(self.model.classes)
            about["version"] = self.model.metadata.get("version")
            spec = self.model.tile_spec
            about["tile_size_px"], about["tile_mpp"] = spec.size_px, spec.mpp
            about["trained_here"] = self.model.path == self.model.trained
        except InputError as error:
            about["labels"], about["error"] = [], str(error)
        return about

    def __call__(self, request: Mapping[str, Any]) -> tuple[None, dict[str, Any]]:
        """Class of an image that is a tile, or of the region that ``location`` and ``size`` name in level-0 pixels.

        Of a region of several tiles the probabilities are their mean.

        Returns:
            None, since there is no file, and "prediction" (idx, label and score of each class), "label" (the most
            probable one), "tiles" (each with its own), "model_file" and "latencies".

        Raises:
            InputError: no such model, an unreadable image, or one that is too large to have one class.
        """
        start = time.time()
        with self._opened(request) as slide:
            spec, region = self.model.tile_spec, region_of(request)
            if region is None and is_tile(slide, spec):
                locations = np.zeros((1, 2), np.int64)
            elif region is None:
                width, height = slide.dimensions_px
                raise InputError(
                    f"{slide.path.name}: is larger than a tile ({width} x {height} px); name a region by location and "
                    "size, or ask /infer/wsi_v2 for its tiles"
                )
            else:
                locations = tiles_over(slide, spec, region, self.limits.region_tiles)
            tiles, probabilities = self._classified(slide, locations)
        mean = probabilities.mean(0)
        return None, {
            "prediction": prediction(self.model.classes, mean),
            "label": self.model.classes[int(mean.argmax())],
            "tiles": tiles,
            "label_names": list(self.model.classes),
            "model_file": self.model.path.name,
            "latencies": {"total": round(time.time() - start, 3)},
        }

    def slide(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Classes of all tiles with enough tissue of an image, or of those whose center lies in a region.

        Returns:
            What MONAI Label's writers take ("annotations", "name", "description", "model", "location", "size"), and
            "tiles": each tile's place in level-0 pixels, class and probabilities.

        Raises:
            InputError: see :meth:`__call__`; no tissue.
        """
        start = time.time()
        with self._opened(request) as slide:
            region = region_of(request)
            locations = tiles_in(slide, self.model.tile_spec, region)
            if len(locations) > self.limits.slide_tiles:
                raise InputError(
                    f"{slide.path.name}: {len(locations)} tiles are asked for, more than {self.limits.slide_tiles}; "
                    "ask for a smaller region (setting slide_tiles)"
                )
            tiles, _ = self._classified(slide, locations)
            width, height = slide.dimensions_px
        return {
            "name": f"{self.model.name}: tiles of {Path(request['image']).name}",
            "description": self.description,
            "model": self.model.name,
            "location": [0, 0] if region is None else [region.x, region.y],
            "size": [width, height] if region is None else [region.width, region.height],
            "annotations": [{"annotation": annotation(self.model.classes, tiles)}],
            "tiles": tiles,
            "label_names": list(self.model.classes),
            "model_file": self.model.path.name,
            "latencies": {"total": round(time.time() - start, 3)},
        }

    @contextmanager
    def _opened(self, request: Mapping[str, Any]) -> Iterator[Slide]:
        self.model.classifier()  # a model that is missing is said before an image that cannot be read
        with closing(open_slide(request["image"], mpp=number(request, "mpp", None))) as slide:
            yield slide

    def _classified(self, slide: Slide, locations: np.ndarray) -> tuple[list[dict[str, Any]], np.ndarray]:
        spec = self.model.tile_spec
        parts = [self.model.probabilities(images) for images in read_tiles(slide, spec, locations)]
        probabilities = np.concatenate(parts) if parts else np.empty((0, len(self.model.classes)))
        side = spec.size_px * slide.downsample_at(spec.mpp)
        return tile_answers(self.model.classes, locations, side, probabilities), probabilities
