"""Active learning: the image whose tile the model is least sure of comes first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from hmgdm_monai.data.slide import open_slide
from hmgdm_monai.engines.graph_unit import thin
from hmgdm_monai.errors import InputError
from lib.bundle_model import BundleModel
from lib.regions import number, read_tiles, tiles_in
from lib.uncertainty import uncertainty

logger = logging.getLogger(__name__)


class MostUncertain(Strategy):
    """Next sample: among images without a label the one with the least certain tile.

    Args:
        models: by name; the request's ``model`` chooses, else the first one.
    """

    def __init__(self, models: Mapping[str, BundleModel]) -> None:
        super().__init__("Most uncertain tiles first: entropy or margin of the class probabilities")
        self.models = models
        self._seen: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose an image.

        Args:
            request: ``model``; ``measure`` "entropy" or "margin"; ``max_tiles`` (64), how many tiles of a slide to look
                at, spread over its tissue; ``max_new`` (200), how many images not looked at before to look at now;
                ``skip``, ids to leave out.
            datastore: of the images.

        Returns:
            "id", and of its least certain tile "uncertainty" (0 to 1), "location" (level-0 pixels), "label" (the most
            probable) and "scores"; None where every image has a label.

        Raises:
            InputError: no such model; of all images without a label none can be read.
        """
        model = self._model(request)
        measure = request.get("measure", "entropy")
        uncertainty(np.ones((1, 1)), measure)
        max_tiles, left = int(number(request, "max_tiles", 64)), int(number(request, "max_new", 200))
        skip = set(request.get("skip", ()))
        best, faults = None, []
        for image in sorted(set(datastore.get_unlabeled_images()) - skip):
            path = Path(datastore.get_image_uri(image))
            try:
                key = (path, path.stat().st_mtime_ns, *model.stamp, max_tiles)
                if key not in self._seen:
                    if left == 0:
                        continue
                    left -= 1
                    self._seen[key] = self._probabilities(model, image, path, max_tiles)
            except (InputError, OSError) as error:
                logger.warning(f"{image} is left out: {error}")
                faults.append(str(error))
                continue
            locations, probabilities = self._seen[key]
            values = uncertainty(probabilities, measure)
            tile = int(values.argmax())
            if best is None or values[tile] > best["uncertainty"]:
                best = {
                    "id": image,
                    "uncertainty": float(values[tile]),
                    "measure": measure,
                    "location": locations[tile].tolist(),
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
        return locations, np.concatenate(parts)
