"""Training from the labels in the datastore."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError
from lib.bundle_model import BundleModel
from lib.labeled_tiles import labeled_tiles
from lib.labels import read_labels
from lib.regions import number, read_tiles

logger = logging.getLogger(__name__)


class HeadTraining(TrainTask):
    """Moves the head of the packaged classifier by all labels that the datastore has; the encoder stays as it is.

    Each training starts from the packaged model, so it does not matter how often or in which order labels came.

    Args:
        model: to train.
    """

    def __init__(self, model: BundleModel) -> None:
        super().__init__("Moves the classifier's head by the labels submitted; the encoder stays as it is")
        self.model = model

    def config(self) -> dict[str, Any]:
        """Settings of a training, with their defaults."""
        return {"strength": 1.0}

    def stats(self) -> dict[str, Any]:
        """What the last training said of itself."""
        try:
            return self.model.stats()
        except InputError:
            return {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train.

        Args:
            request: ``strength`` (1.0), how much a label weighs against the packaged model.
            datastore: of images with label files; see :func:`lib.labels.read_labels`.

        Returns:
            "labels", how many of each class; "images", how many; "skipped", image -> why it could not be used; and what
            :meth:`BundleModel.refit` gives.

        Raises:
            InputError: no such model, no label, or none that can be used.
        """
        strength = number(request, "strength", 1.0)
        classes = self.model.classifier().classes
        tiles, labels, names, skipped = [], [], [], {}
        for pair in datastore.datalist():
            name = Path(pair["image"]).stem
            try:
                found = read_labels(pair["label"], classes)
                with closing(open_slide(pair["image"])) as slide:
                    locations, indices = labeled_tiles(slide, self.model.tile_spec, found)
                    tiles.extend(read_tiles(slide, self.model.tile_spec, locations))
            except InputError as error:
                logger.warning(f"{name} is left out: {error}")
                skipped[name] = str(error)
                continue
            labels.append(indices)
            names.append(name)
        if not tiles:
            why = f"; the first of {len(skipped)} left out: {next(iter(skipped.values()))}" if skipped else ""
            raise InputError(f"there is no label to train from{why or '; submit some by PUT /datastore/label'}")
        indices = np.concatenate(labels)
        stats = {
            "labels": {name: int((indices == i).sum()) for i, name in enumerate(classes)},
            "images": len(names),
            "skipped": skipped,
            "strength": strength,
            **self.model.refit(np.concatenate(tiles), indices, names, strength),
        }
        self.model.write_stats(stats)
        return stats
