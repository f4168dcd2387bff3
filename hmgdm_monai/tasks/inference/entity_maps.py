"""Maps of slides at the resolution of superpixels (or patches): computed slide by slide, one file each."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.data.files.features_file import Features, read_features
from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.stores.map_canvas import MapCanvas
from hmgdm_monai.data.stores.slide_map import map_key, write_slide_map
from hmgdm_monai.data.tiles.entity_tissue import TissueMap
from hmgdm_monai.data.tiles.tiling import slide_tissue
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.preparation.tile_stream import stream_slide
from hmgdm_monai.tasks.inference.embed import CohortEmbedding
from hmgdm_monai.tasks.inference.entity_values import EntityValues
from hmgdm_monai.tasks.inference.extremes import Extremes, to_arrays
from hmgdm_monai.tasks.inference.patient_values import PatientValues, joined, patient_values
from hmgdm_monai.tasks.inference.quantities import present
from hmgdm_monai.visualize.heatmap import value_range

FORMAT = 1  # increase it if the same settings make other maps: stored maps are then computed again
OVERLAPS = (0.0, 0.5)
_MOST_PX = 2**31  # a map with more pixels results from a wrong scale


@dataclass(frozen=True)
class MapSettings:
    """How slides are painted in superpixels.

    Attributes:
        overlap: share by which neighboring tiles overlap, 0 or 0.5. With 0.5, each place lies in four tiles, whose
            values are averaged; the tiles form four shifted grids, each of which a patient model sees as a bag.
        mpp: microns per pixel of the map.
        extremes: number of tiles kept as highest and lowest of each quantity.

    Raises:
        InputError: a value is out of range.
    """

    overlap: float = 0.0
    mpp: float = 4.0
    extremes: int = 4

    def __post_init__(self) -> None:
        if self.overlap not in OVERLAPS:
            raise InputError(f"map_overlap must be 0 or 0.5, not {self.overlap}")
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise InputError(f"map_mpp must be a positive number of microns per pixel, not {self.mpp}")
        if self.extremes < 1:
            raise InputError(f"map_extremes must be at least 1, not {self.extremes}")


class EntityMaps:
    """Compute maps of slides whose tiles are embedded; a map that exists with the same key is kept.

    Superpixels on glass are left out, unless tiles were chosen without looking for tissue.

    Tiles are read and encoded once more, since their entities are too many to store with the embeddings. With
    overlapping tiles this takes four times as long, and with a model of patients eight times.

    Args:
        embedding: embedding whose jobs are completed.
        values: quantities of the maps.
        settings: how slides are painted.
        folder: folder of the files ``<slide>.h5``; created if missing.
        device: device of the models of patients.
    """

    def __init__(
        self,
        embedding: CohortEmbedding,
        values: EntityValues,
        settings: MapSettings,
        folder: Path | str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.embedding, self.values = embedding, values
        self.settings, self.folder, self.device = settings, Path(folder), device

    def write(self, row_id: str) -> Path:
        """Compute the map of a slide, if there is none yet, and return the path of its file.

        Args:
            row_id: id of an embedded slide.

        Raises:
            InputError: the slide can no longer be read, or the disk is full.
        """
        stored = self.embedding.result.slides[row_id]
        features = read_features(stored)
        path, key = self.folder / stored.name, self._key(features)
        if map_key(path) == key:
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        about, measures = features.attrs, self.values.measures
        mpp = float(about["mpp"] if math.isnan(about["level0_mpp"]) else about["level0_mpp"])
        slide_px = int(about["level0_width_px"]), int(about["level0_height_px"])
        pixel_px = self.settings.mpp / mpp
        if math.prod(slide_px) / pixel_px**2 > _MOST_PX:
            raise InputError(f"{row_id}: a map of {slide_px} px at {self.settings.mpp} um is too large; raise map_mpp")
        extremes = [Extremes(self.settings.extremes) for _ in measures]
        collected: list[np.ndarray] = []
        with MapCanvas(len(measures), slide_px, pixel_px, self.folder) as canvas:
            tissue = self._tissue(row_id)
            for samples, places, values, ranked in self._batches(row_id, features, stored):
                labels = samples.label_map.numpy()
                side = float(about["tile_size_level0"]) / labels.shape[-1]
                for number, place in enumerate(places):
                    own = np.flatnonzero(values.tile == number)
                    if tissue is not None:
                        glass = ~tissue.entities(labels[number], place, side, len(own))
                        values.entities[:, own[glass]] = np.nan
                    canvas.paint(labels[number], values.entities[:, own], place, side)
                collected.append(values.entities)
                keep = ranked[values.tile]
                tile = np.cumsum(ranked)[values.tile[keep]] - 1
                for one, tiles, entities in zip(extremes, values.tiles, values.entities, strict=True):
                    one.add(tiles[ranked], entities[keep], tile, labels[ranked], places[ranked])
            spans = {m.name: value_range(v) for m, v in zip(measures, np.concatenate(collected, 1), strict=True)}
            arrays: dict[str, np.ndarray] = {}
            for number, one in enumerate(extremes):
                arrays |= to_arrays(number, one)
            write_slide_map(path, canvas, [m.name for m in measures], mpp, spans, arrays, key)
        return path

    def _batches(self, row_id: str, features: Features, stored: Path) -> Iterator[tuple[Any, ...]]:
        """Yield samples, places (B, 2), their values, and which tiles (B,) are those of the embedding."""
        embedding, row = self.embedding, self.embedding.result.rows[row_id]
        coords = present(features.coords, stored, "coords")
        embedded = {tuple(place) for place in coords.tolist()}
        overlapping = self.settings.overlap > 0 and row.coords is None
        recipe = self._overlapping(embedding.recipe) if overlapping else embedding.recipe
        known: dict[tuple[int, ...], tuple[int, PatientValues]] = {}
        models = self.values.patient_models
        if models is not None:
            where, tiles = coords, features.features
            if overlapping:
                where, tiles = self._embedded_again(row_id, recipe)
            step = float(features.attrs["tile_size_level0"]) / 2
            for bag in self._bags(where, step) if overlapping else [np.arange(len(where))]:
                theirs = patient_values(models, tiles[bag], where[bag], self.device, slopes=True)
                known |= {tuple(where[i].tolist()): (place, theirs) for place, i in enumerate(bag)}
        to_sample = partial(embedding.to_sample, keep_label_map=True)
        for samples, places, _ in stream_slide(row, recipe, to_sample, embedding.batch_tiles, embedding.num_workers):
            ranked = np.array([tuple(place) in embedded for place in places.tolist()])
            found = None if models is None else joined([known[tuple(place)] for place in places.tolist()])
            yield samples.cpu(), places, self.values.of_batch(samples, found), ranked

    def _tissue(self, row_id: str) -> TissueMap | None:
        """Return where the slide shows tissue; None where tiles were not chosen by tissue."""
        row, spec = self.embedding.result.rows[row_id], self.embedding.recipe.tile_spec
        if row.coords is not None or spec.min_tissue == 0:
            return None
        with closing(open_slide(row.image, mpp=row.mpp)) as slide:
            return TissueMap(*slide_tissue(slide, spec))

    def _embedded_again(self, row_id: str, recipe: TileRecipe) -> tuple[np.ndarray, np.ndarray]:
        """Return places (M, 2) and embeddings (M, S) of tiles made by another recipe."""
        embedding, row = self.embedding, self.embedding.result.rows[row_id]
        encoder = embedding.encoder
        device = next(encoder.parameters()).device
        places, parts = [], []
        batches = stream_slide(row, recipe, embedding.to_sample, embedding.batch_tiles, embedding.num_workers)
        for samples, where, _ in batches:
            with torch.inference_mode():
                parts.append(encoder(samples.to(device)).float().cpu().numpy())
            places.append(where)
        return np.concatenate(places), np.concatenate(parts)

    @staticmethod
    def _overlapping(recipe: TileRecipe) -> TileRecipe:
        spec = recipe.tile_spec
        return dataclasses.replace(recipe, tile_spec=dataclasses.replace(spec, overlap_px=spec.size_px // 2))

    @staticmethod
    def _bags(places: np.ndarray, step_px: float) -> list[np.ndarray]:
        """Indices of the tiles of each of the four shifted grids."""
        steps = np.rint(places / step_px).astype(np.int64) % 2
        grid = steps[:, 0] + 2 * steps[:, 1]
        return [np.flatnonzero(grid == number) for number in np.unique(grid)]

    def _key(self, features: Features) -> str:
        """Return a digest of everything that determines the map of a slide."""
        patients = hashlib.sha256()
        for model in self.values.patient_models or ():
            patients.update(repr((model.settings, model.about.get("graph"))).encode())
            for name, value in sorted(model.network.state_dict().items()):
                patients.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        content = [
            FORMAT,
            str(features.attrs["key"]),
            None if self.values.classifier is None else self.values.classifier.digest(),
            patients.hexdigest(),
            [dataclasses.asdict(measure) for measure in self.values.measures],
            dataclasses.asdict(self.settings),
            hashlib.sha256(np.concatenate(self.values.axis).tobytes()).hexdigest(),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
