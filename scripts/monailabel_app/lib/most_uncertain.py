"""Active learning: the image whose tile the model is least sure of comes first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.strategy import Strategy

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.graph_unit import thin
from lib.bundle_model import BundleModel
from lib.labeled_tiles import labeled_tiles
from lib.labels import read_labels
from lib.limits import Limits
from lib.regions import number, read_tiles, tiles_in
from lib.uncertainty import uncertainty
from lib.work import stop_if_late

logger = logging.getLogger(__name__)


class MostUncertain(Strategy):
    """Next sample: among images without a label the one with the least certain tile.

    Args:
        models: by name; the request's ``model`` chooses, else the first one.
        limits: ``slide_tiles``.
    """

    def __init__(self, models: Mapping[str, BundleModel], limits: Limits) -> None:
        super().__init__("Most uncertain tiles first: entropy or margin of the class probabilities")
        self.models = models
        self.limits = limits
        # Of each image the last answer, and what it depends on.
        self._seen: dict[Path, tuple[tuple, tuple[np.ndarray, float, np.ndarray]]] = {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose an image.

        Args:
            request: ``model``; ``measure`` "entropy" or "margin"; ``max_tiles`` (64), how many tiles of a slide to look
                at, spread over its tissue; ``max_new`` (200), how many images not looked at before to look at now;
                ``skip``, ids to leave out; ``image``, to stay with that image and its tiles without a label.
            datastore: of the images.

        Returns:
            "id", and of its least certain tile "uncertainty" (0 to 1), "location" and "bbox" (x, y, width, height;
            level-0 pixels), "label" (the most probable) and "scores"; None where everything has a label.

        Raises:
            InputError: no such model; of all images without a label none can be read.
        """
        model = self._model(request)
        measure = request.get("measure", "entropy")
        uncertainty(np.ones((1, 1)), measure)
        max_tiles = min(int(number(request, "max_tiles", 64)), self.limits.slide_tiles)
        left = int(number(request, "max_new", 200))
        skip = set(request.get("skip", ()))
        best, faults = None, []
        only = request.get("image")
        images = [only] if only in datastore.list_images() else datastore.get_unlabeled_images()
        for image in sorted(set(images) - skip):
            stop_if_late()
            try:
                path = Path(datastore.get_image_uri(image))
                key = (path.stat().st_mtime_ns, *model.stamp, max_tiles)
                if path not in self._seen or self._seen[path][0] != key:
                    if left == 0:
                        continue
                    left -= 1
                    self._seen[path] = key, self._probabilities(model, image, path, max_tiles)
            except (InputError, OSError) as error:
                logger.warning(f"{image} is left out: {error}")
                faults.append(str(error))
                continue
            locations, side, probabilities = self._seen[path][1]
            values = uncertainty(probabilities, measure)
            if image == only:
                values[self._labeled(model, datastore, image, path, locations)] = -1
                if (values < 0).all():
                    continue
            tile = int(values.argmax())
            if best is None or values[tile] > best["uncertainty"]:
                best = {
                    "id": image,
                    "uncertainty": float(values[tile]),
                    "measure": measure,
                    "location": locations[tile].tolist(),
                    "bbox": [*locations[tile].tolist(), round(side), round(side)],
                    "label": model.classes[int(probabilities[tile].argmax())],
                    "scores": dict(zip(model.classes, probabilities[tile].tolist(), strict=True)),
                }
        if best is None and faults:
            raise InputError(f"none of {len(faults)} images without a label can be read; the first: {faults[0]}")
        return best

    def _model(self, request: Mapping[str, Any]) -> BundleModel:
        name = request.get("model") or next(iter(self.models), None)
        if name not in self.models:
            raise InputError(f"there is no model {name!r}; there are: {', '.join(self.models) or 'none'}")
        self.models[name].classifier()
        return self.models[name]

    @staticmethod
    def _probabilities(model: BundleModel, image: str, path: Path, max_tiles: int) -> tuple[np.ndarray, np.ndarray]:
        spec = model.tile_spec
        with closing(open_slide(path)) as slide:
            locations = thin(tiles_in(slide, spec, None), max_tiles, 0, image)
            parts = [model.probabilities(images) for images in read_tiles(slide, spec, locations)]
            side = spec.size_px * slide.downsample_at(spec.mpp)
        return locations, side, np.concatenate(parts)

    @staticmethod
    def _labeled(model: BundleModel, datastore: Datastore, image: str, path: Path, locations: np.ndarray) -> np.ndarray:
        """Which of the tiles (N,) have a label already; a label that cannot be used is none."""
        label = datastore.get_label_uri(image, DefaultLabelTag.FINAL)
        if not label:
            return np.zeros(len(locations), bool)
        try:
            with closing(open_slide(path)) as slide:
                known, _ = labeled_tiles(slide, model.tile_spec, read_labels(label, model.classes, image))
        except InputError as error:
            logger.warning(f"the label of {image} is not used: {error}")
            return np.zeros(len(locations), bool)
        return (locations[:, None] == known[None]).all(2).any(1)
