"""The output of inference in addition to embeddings: maps, a projection, the denoising of a tile, a summary."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.files.tile_embeddings_file import read_tile_embeddings
from hmgdm_monai.data.manifest.columns import read_columns
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.data.stores.slide_map import opened_slide_map
from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.methods.hmgdm import HMGDM
from hmgdm_monai.preparation.recipe import noising_of
from hmgdm_monai.saving.patient_file import load_patient_models
from hmgdm_monai.tasks.denoising_figure import denoising_figure
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.inference.embed import CohortEmbedding
from hmgdm_monai.tasks.inference.entity_maps import EntityMaps, MapSettings
from hmgdm_monai.tasks.inference.entity_values import EntityValues
from hmgdm_monai.tasks.inference.extremes_figure import write_extremes
from hmgdm_monai.tasks.inference.maps import (
    Quantity,
    entity_attention,
    read_tile,
    write_entity_map,
    write_slide_maps,
    write_tile_geojson,
)
from hmgdm_monai.tasks.inference.patient_values import patient_quantities
from hmgdm_monai.tasks.inference.projection_figure import write_projection
from hmgdm_monai.tasks.inference.quantities import embedding_size, present, principal_axis
from hmgdm_monai.tasks.inference.slide_map_files import write_entity_map_files
from hmgdm_monai.tasks.run_folder import write_json
from hmgdm_monai.visualize.heatmap import value_range

logger = logging.getLogger(__name__)
MAP_RESOLUTIONS = ("tile", "superpixel")

# Ending of a map's name after the name of its image: a_x1_y2 could be an image, or a tile of the image a.
_LIKE_A_MAP = re.compile(r"_(probability|patient|superpixels|x-?\d+)(_|$)")


class InferenceReport:
    """Write ``maps/``, ``figures/`` and ``summary.json`` for embeddings on disk.

    Each slide gets a map of the first principal component of the embeddings. With a model of patients, it gets maps of
    attention and prediction of its tiles. With a classifier, it gets a map of the probability of each class. The color
    scales span the whole cohort, so slides can be compared. Some tiles get a map of the attention of the classifier's
    gate to their superpixels or patches.

    Args:
        embedding: embedding whose jobs are completed.
        output_dir: output folder of the run.
        patient_model: a ``fold_*.pt`` of survival.json, patient_classes.json or regress.json, several, or the folder of
            all folds: their mean is painted. None for none.
        superpixels: superpixel index of a pretraining run (superpixels.pt); its superpixels draw the denoising of a
            tile. No such figure is made if this is None or the file does not exist.
        projection_method: "tsne" or "umap".
        projection_column: column of the manifest that colors the projection; None uses the label if there are labels,
            and the patient otherwise.
        projection_tiles: maximum number of tiles in the projection, drawn evenly from the slides.
        superpixel_tiles: number of tiles that get a map of their superpixels, each from another slide.
        map_resolution: "tile" paints slides in tiles; "superpixel" paints them in superpixels or patches, which reads
            and encodes the slides once more, and draws the highest and lowest tiles and superpixels.
        map_overlap, map_mpp, map_extremes: see :class:`~hmgdm_monai.tasks.inference.entity_maps.MapSettings`.
        geojson_mb: limit of the size of a slide's GeoJSON of superpixels in MB; superpixels are merged until it fits.
        device: device of the networks.
        seed: seed of projection, draw and denoising.
        progress: show a progress bar over slides on stderr.
    """

    def __init__(
        self,
        embedding: CohortEmbedding,
        output_dir: Path | str,
        patient_model: Path | str | Sequence[Path | str] | None = None,
        superpixels: Path | str | None = None,
        projection_method: str = "tsne",
        projection_column: str | None = None,
        projection_tiles: int = 3000,
        superpixel_tiles: int = 4,
        map_resolution: str = "tile",
        map_overlap: float = 0.0,
        map_mpp: float = 4.0,
        map_extremes: int = 3,
        geojson_mb: float = 50.0,
        device: torch.device | str = "cpu",
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        self.embedding, self.output_dir = embedding, Path(output_dir)
        self.classifier = embedding.classifier
        self.patient_models = None if patient_model is None else load_patient_models(patient_model)
        self.superpixels = None if superpixels is None else Path(superpixels)
        self.projection_method, self.projection_column = projection_method, projection_column
        self.projection_tiles, self.superpixel_tiles = projection_tiles, superpixel_tiles
        if map_resolution not in MAP_RESOLUTIONS:
            raise InputError(f"map_resolution must be one of {', '.join(MAP_RESOLUTIONS)}, not {map_resolution!r}")
        if not geojson_mb > 0:
            raise InputError(f"geojson_mb must be positive, not {geojson_mb}")
        self.map_resolution, self.geojson_mb = map_resolution, geojson_mb
        self.map_settings = MapSettings(map_overlap, map_mpp, map_extremes)
        self.device, self.seed, self.progress = torch.device(device), seed, progress

    @property
    def note(self) -> str | None:
        """Note for figures if the data are the synthetic demo cohort."""
        return synthetic_note(self.embedding.manifest.path)

    def check(self) -> None:
        """Check everything that needs no embeddings, before the cohort is embedded.

        Raises:
            InputError: the manifest or the superpixel index cannot be used, the method of projection is unknown, its
                column is missing, or a model of patients was trained on embeddings of another size.
        """
        from hmgdm_monai.visualize.projection import check_method

        check_method(self.projection_method)
        columns = [] if self.projection_column is None else [self.projection_column]
        read_columns(self.embedding.manifest.path, columns)
        size = embedding_size(self.embedding.encoder) if self.patient_models else None
        if size is not None:
            for model in self.patient_models or ():
                model.check_channels(size)
        if self.superpixels is not None and self.superpixels.is_file():
            NearestSuperpixels.load(self.superpixels)

    def write(self) -> None:
        """Write all files, each completely or not at all, and log their paths.

        Raises:
            InputError: nothing was embedded, a column is missing, or the disk is full.
        """
        result = self.embedding.finish()
        logger.info("%s", result.summary())
        figures, maps = self.output_dir / "figures", self.output_dir / "maps"
        self.write_slide_maps(maps)
        if self.map_resolution == "superpixel":
            self.write_superpixel_maps(maps, figures / "extremes")
        self.write_entity_maps(maps)
        how = (self.projection_method, self.projection_column, self.projection_tiles, self.seed, self.note)
        write_projection(self.embedding, figures / "projection.png", *how)
        self.write_denoising(figures / "denoising.png")
        write_json(
            self.output_dir / "summary.json",
            {
                "data": self.note or str(self.embedding.manifest.path),
                "embedded_slides": len(result.slides),
                "tiles_file": None if result.tiles is None else result.tiles.name,
                "skipped": [{"what": what, "reason": reason} for what, reason in result.skipped.items()],
            },
        )
        for name, path in (("embeddings", self.embedding.folder), ("maps", maps), ("figures", figures)):
            logger.info("%-11s %s", f"{name}:", path)

    def write_slide_maps(self, folder: Path) -> None:
        """Write the maps of all slides."""
        result = self.embedding.result
        found = {
            row_id: self._quantities(path)
            for row_id, path in tqdm(result.slides.items(), desc="values", unit="slide", disable=not self.progress)
        }
        if not found:
            return
        names = [quantity.name for quantity in next(iter(found.values()))]
        spans = {
            name: value_range(
                np.concatenate([q.values for quantities in found.values() for q in quantities if q.name == name])
            )
            for name in names
        }
        for row_id, quantities in tqdm(found.items(), desc="maps", unit="slide", disable=not self.progress):
            path = result.slides[row_id]
            features = read_features(path)
            spanned = [Quantity(q.name, q.label, q.values, q.span or spans[q.name]) for q in quantities]
            classes = None
            if self.classifier is not None:
                shares = np.stack([q.values for q in quantities if q.name.startswith("probability")])
                classes = [self.classifier.classes[place] for place in shares.argmax(0)]
            row = result.rows[row_id]
            stem = self._map_stem(row_id)
            coords = present(features.coords, path, "coords")
            if self.map_resolution == "superpixel":  # pictures show superpixels
                write_tile_geojson(row, coords, features.attrs, spanned, folder, stem, classes)
            else:
                write_slide_maps(row, coords, features.attrs, spanned, folder, stem, classes, self.note)

    def write_superpixel_maps(self, folder: Path, figures: Path) -> None:
        """Write the maps of all slides in superpixels, and the figures of the highest and lowest."""
        result, encoder = self.embedding.result, self.embedding.encoder
        if not result.slides:
            return
        values = EntityValues(encoder.eval(), self._axis, self.classifier, self.patient_models)
        store = self.output_dir / "entity_maps"
        maps = EntityMaps(self.embedding, values, self.map_settings, store, self.device)
        files = {
            row_id: maps.write(row_id)
            for row_id in tqdm(result.slides, desc="superpixels", unit="slide", disable=not self.progress)
        }
        found: dict[str, Mapping[str, np.ndarray]] = {}
        ends: dict[str, list[tuple[float, float]]] = {measure.name: [] for measure in values.measures}
        for row_id, path in files.items():
            with opened_slide_map(path) as stored:
                found[row_id] = stored.arrays
                for name, span in stored.spans.items():
                    ends[name].append(span)
        spans = {
            one.name: one.span or (min(low for low, _ in ends[one.name]), max(high for _, high in ends[one.name]))
            for one in values.measures
        }
        shares = [one.name for one in values.measures if one.span is not None]
        if shares:  # probabilities of all classes have one scale, whose end is the highest
            highest = max(high for name in shares for _, high in ends[name])
            spans |= dict.fromkeys(shares, (0.0, highest))
        classes = None if self.classifier is None else self.classifier.classes
        most_bytes = round(self.geojson_mb * 1e6)
        for row_id, path in tqdm(files.items(), desc="maps", unit="slide", disable=not self.progress):
            stem = self._map_stem(row_id)
            about = (values.measures, spans, folder, stem, classes, most_bytes, self.note)
            write_entity_map_files(result.rows[row_id], path, *about)
        spec, kind = self.embedding.recipe.tile_spec, self.embedding.recipe.entity_kind
        write_extremes(found, result.rows, values.measures, spec, self.map_settings.extremes, figures, kind, self.note)

    def write_entity_maps(self, folder: Path) -> None:
        """Write the gate's attention to the superpixels or patches of a few tiles, each from another image."""
        if self.classifier is None or not isinstance(self.classifier.network, GatedTileClassifier):
            logger.info(
                "no maps of superpixels or patches: these need a fine-tuned classifier of classify.json (--classifier)"
            )
            return
        network, recipe = copy.deepcopy(self.classifier.network).cpu(), self.embedding.recipe
        for row, location in self._some_tiles(self.superpixel_tiles):
            tile = read_tile(row, location, recipe.tile_spec, network.encoder.to_sample)
            values, shares = entity_attention(network, tile)
            best = int(shares.argmax())
            title = f"{row.image.name}: predicted {self.classifier.classes[best]} ({float(shares[best]):.0%})"
            quantity = Quantity("attention", "attention of the gate (1 = even share)", values)
            write_entity_map(tile, quantity, folder, self._map_stem(row.id), title, self.note)

    def write_denoising(self, path: Path) -> None:
        """Draw the denoising of one tile, if the encoder was trained by denoising."""
        from hmgdm_monai.visualize.save import save_figure

        encoder, recipe = self.embedding.encoder, self.embedding.recipe
        if not isinstance(encoder, GraphTileEncoder) or not isinstance(encoder.hmgdm, HMGDM):
            return
        if self.superpixels is None or not self.superpixels.is_file():
            logger.info("no figure of denoising: it needs superpixels.pt of the pretraining run, beside its model.pt")
            return
        row, location = self._some_tiles(1)[0]
        tile = read_tile(row, location, recipe.tile_spec, encoder.to_sample)
        encoder.cpu()
        try:
            with torch.inference_mode():
                latent = encoder.prepare(tile.sample)
            figure = denoising_figure(
                NearestSuperpixels.load(self.superpixels),
                encoder.hmgdm,
                noising_of(encoder.run_settings),
                tile.image,
                tile.sample.label_map,
                latent,
                seed=self.seed,
                note=self.note,
                entities=recipe.entity_kind,
            )
        finally:
            encoder.to(self.device)
        save_figure(figure, path)

    def _some_tiles(self, count: int) -> list[tuple[ManifestRow, Sequence[int]]]:
        """Return the central tile of each of ``count`` slides or plain images, spread evenly over the cohort."""
        result = self.embedding.result
        rows = list(result.slides)
        if not rows and result.tiles is not None:
            rows = sorted(set(read_tile_embeddings(result.tiles)[1]))
        chosen = [rows[len(rows) * number // count] for number in range(min(count, len(rows)))]
        places: list[tuple[ManifestRow, Sequence[int]]] = []
        for row_id in chosen:
            where: Sequence[int] = (0, 0)
            if row_id in result.slides:
                path = result.slides[row_id]
                coords = present(read_features(path).coords, path, "coords")
                where = coords[np.abs(coords - np.median(coords, axis=0)).sum(1).argmin()].tolist()
            places.append((result.rows[row_id], where))
        return places

    def _map_stem(self, row_id: str) -> str:
        """Return the start of the names of an image's maps.

        It is the name of the image, or its id if the name looks like the name of another image's map.
        """
        name = self.embedding.slide_name(row_id)
        return f"./{row_id}" if _LIKE_A_MAP.search(name) else name

    @cached_property
    def _axis(self) -> tuple[np.ndarray, np.ndarray]:
        return principal_axis(list(self.embedding.result.slides.values()))

    def _quantities(self, path: Path) -> list[Quantity]:
        features = read_features(path)
        mean, axis = self._axis
        found = [
            Quantity("pc1", "first principal component of the embeddings (no unit)", (features.features - mean) @ axis)
        ]
        if self.patient_models is not None:
            found += patient_quantities(self.patient_models, features, path, self.device)
        if self.classifier is not None:
            scores = present(features.scores, path, "scores")
            found += [
                Quantity(f"probability_{name}", f"probability of {name}", scores[:, place], (0.0, 1.0))
                for place, name in enumerate(self.classifier.classes)
            ]
        return found
