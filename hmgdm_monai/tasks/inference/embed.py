"""From a manifest to embeddings on disk: slides one by one in limited memory, plain tiles in one file."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Batch, Data
from tqdm import tqdm

from hmgdm_monai.data.files.features_file import write_features
from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.files.tile_embeddings_file import stored_ids, write_tile_embeddings
from hmgdm_monai.data.manifest.manifest import Manifest, ManifestRow, read_manifest
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.networks.encoders.tile_sample import checked_sample
from hmgdm_monai.preparation.graph_unit import UNUSABLE, GraphUnit, plan_units, reason_of
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.preparation.tile_stream import PlainTiles, stream_slide
from hmgdm_monai.saving.classifier_file import Classifier
from hmgdm_monai.tasks.inference.embedded import Embedded
from hmgdm_monai.transforms.quality import QualityLimits
from hmgdm_monai.transforms.tile_transforms import described

TILES_FILE = "embeddings.h5"


class CohortEmbedding(Dataset):
    """Embed the images of a manifest with a pretrained model and, with a classifier, classify them.

    Both use one pass: each tile is read and prepared once.

    A job is a slide, or all plain tiles of the manifest. It writes one file, completely or not at all, whose key
    depends on weights, settings and the identity of its images. So a run that was interrupted, or even killed, resumes
    with the first job whose file is missing. A job reads and encodes one batch of tiles at a time; only the embeddings
    grow with the slide (4 S bytes per tile). Images that cannot be used are skipped and named.

    The manifest is read on first use. As a data set, this class is the sequence of its jobs.

    Args:
        encoder: encoder of :func:`~hmgdm_monai.saving.encoder_file.load_encoder`.
        recipe: size, scale and choice of tiles; see :func:`hmgdm_monai.preparation.recipe.recipe_of`.
        manifest: the cohort, or the path of its CSV.
        folder: folder of the files ``<slide>.h5`` and ``embeddings.h5``; created if missing.
        batch_tiles: number of tiles per batch.
        num_workers: number of processes that read tiles in advance.
        strict_manifest: refuse a manifest with any faulty row.
        progress: show a progress bar over the tiles of each job on stderr.
        classifier: classifier of the same tiles, with its network on the encoder's device; None to embed only.
        quality_limits: tiles beyond these limits are left out; None: only those that the model's own transforms do.

    Raises:
        InputError: a number is out of range, or the classifier was trained on tiles that are made differently.
    """

    def __init__(
        self,
        encoder: TileEncoder,
        recipe: TileRecipe,
        manifest: Manifest | Path | str,
        folder: Path | str,
        batch_tiles: int = 32,
        num_workers: int = 0,
        strict_manifest: bool = False,
        progress: bool = True,
        classifier: Classifier | None = None,
        quality_limits: QualityLimits | None = None,
    ) -> None:
        for name, value, least in (("batch_tiles", batch_tiles, 1), ("num_workers", num_workers, 0)):
            if value < least:
                raise InputError(f"embedding: {name} must be at least {least}, not {value}")
        self.encoder, self.recipe, self.folder = encoder, recipe, Path(folder)
        self.batch_tiles, self.num_workers, self.progress = batch_tiles, num_workers, progress
        self._source, self._strict = manifest, strict_manifest
        self.classifier, self.quality_limits = classifier, quality_limits
        if classifier is not None:
            theirs = replace(recipe_of(classifier.run_settings, recipe.max_tiles, recipe.seed), mask=recipe.mask)
            if classifier.network.encoder.kind != encoder.kind or theirs.settings() != recipe.settings():
                raise InputError("the classifier was trained on other tiles than the model; give one of this model")

    @cached_property
    def manifest(self) -> Manifest:
        """The cohort as read."""
        return self._source if isinstance(self._source, Manifest) else read_manifest(self._source, strict=self._strict)

    @cached_property
    def _plan(self) -> tuple[list[GraphUnit], dict[str, str]]:
        return plan_units(self.manifest.rows, self.folder, self.recipe)

    @cached_property
    def jobs(self) -> list[tuple[GraphUnit, ...]]:
        """One job per slide, sorted by name; then one job for all plain tiles."""
        units, _ = self._plan
        slides: list[tuple[GraphUnit, ...]] = [(unit,) for unit in units if _is_slide(unit)]
        tiles = tuple(unit for unit in units if not _is_slide(unit))
        return slides + ([tiles] if tiles else [])

    @cached_property
    def result(self) -> Embedded:
        """The results so far; each job adds to it."""
        rows = {row.id: row for row in self.manifest.rows}
        return Embedded(rows=rows, skipped=self.manifest.left_out | self._plan[1])

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, number: int) -> tuple[GraphUnit, ...]:
        return self.jobs[number]

    def iteration(self, engine: Any, job: tuple[GraphUnit, ...]) -> dict[str, Any]:
        """Run one job; the ``iteration_update`` of a MONAI evaluator over this data set.

        Args:
            engine: the evaluator; its inferer runs its network.
            job: job to run.
        """
        from monai.engines.utils import IterationEvents
        from monai.utils.enums import CommonKeys

        engine.network.eval()
        engine.state.output = {CommonKeys.PRED: self.embed(job, lambda tiles: engine.inferer(tiles, engine.network))}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def slide_name(self, row_id: str) -> str:
        """Return the base name of a slide's files: its name, with the folder if two slides have the same name."""
        stem = _stem(row_id)
        if self._stems[stem] == 1 and f"{stem}.h5" != TILES_FILE:
            return stem
        return row_id if "/" in row_id else f"./{row_id}"

    def slide_path(self, row_id: str) -> Path:
        """Return the path of a slide's embeddings."""
        return self.folder / f"{safe_name(self.slide_name(row_id))}.h5"

    @cached_property
    def _stems(self) -> Counter[str]:
        return Counter(_stem(row_id) for row_id in self.result.rows)

    def embed(self, job: tuple[GraphUnit, ...], network: Callable[[Batch], Tensor] | None = None) -> Tensor | None:
        """Run one job and record the result in :attr:`result`.

        Args:
            job: one of :attr:`jobs`.
            network: network on the device of :attr:`encoder`. It maps a batch of samples to (B, S); with a classifier,
                samples that the classifier has prepared to logits (B, K). None uses the encoder or the classifier.

        Returns:
            Mean embedding (1, S) of the job's tiles; None if its images cannot be used.
        """
        key = self._key(job)
        path = self.slide_path(job[0].name) if _is_slide(job[0]) else self.folder / TILES_FILE
        if self._stands(job, path, key):
            self.result.kept += 1
        else:
            try:
                self._write(job, path, key, network or self._network)
            except _NothingUsableError:
                return None
        if _is_slide(job[0]):
            self.result.slides[job[0].name] = path
        else:
            self.result.tiles = path
        with h5py.File(path, "r") as file:
            return torch.from_numpy(np.mean(file["features"][:], axis=0, keepdims=True))

    def run(self) -> Embedded:
        """Run all jobs.

        Raises:
            InputError: no image can be used (one message with one line per reason), or the disk is full.
        """
        for job in self.jobs:
            self.embed(job)
        return self.finish()

    def finish(self) -> Embedded:
        """Return the result after all jobs.

        Raises:
            InputError: no image can be used.
        """
        if not self.result.slides and self.result.tiles is None:
            raise InputError(f"{self.manifest.path}: none of its images could be used; {self.result.summary()}")
        return self.result

    def _key(self, job: tuple[GraphUnit, ...]) -> str:
        content = [*self._digests, [[unit.name, unit.settings] for unit in job]]
        content += [] if self.quality_limits is None else [described(self.quality_limits)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _digests(self) -> list[str]:
        """Digest of the encoder, and of the classifier if there is one."""
        return [self.encoder.digest(), *([] if self.classifier is None else [self.classifier.digest()])]

    @property
    def to_sample(self) -> Callable[..., Data]:
        """Converts a tile for the encoder; raises LeftOutTileError if the tile is beyond :attr:`quality_limits`."""
        return checked_sample(self.encoder.to_sample, self.quality_limits, self.recipe.tile_spec.mpp)

    @property
    def _network(self) -> nn.Module:
        return self.encoder if self.classifier is None else self.classifier.network

    @cached_property
    def _prepared_alike(self) -> bool:
        return self.classifier is not None and self.encoder.prepares_as(self.classifier.network.encoder)

    def _stands(self, job: tuple[GraphUnit, ...], path: Path, key: str) -> bool:
        """Return whether a job's file is complete, has this key, and lacks only images that still cannot be used."""
        stored = stored_ids(path, key)
        if stored is None:
            return False
        missing = [row for unit in job for row in unit.rows if row.id not in stored]
        tried = PlainTiles(missing, self.recipe, self.to_sample, 1)
        faults = {key: why for number in range(len(tried)) for key, why in tried[number][3].items()}
        self.result.skipped |= faults
        return len(faults) == len(missing)

    def _write(self, job: tuple[GraphUnit, ...], path: Path, key: str, network: Callable[[Batch], Tensor]) -> None:
        rows = [row for unit in job for row in unit.rows]
        parts: list[np.ndarray] = []
        scored: list[np.ndarray] = []
        ids: list[str] = []
        coords: list[np.ndarray] = []
        attrs: dict[str, Any] = {}
        name = rows[0].id if _is_slide(job[0]) else "plain tiles"
        place = f"{self.jobs.index(job) + 1}/{len(self.jobs)}"
        with tqdm(total=0, desc=f"embed {place} {name}", unit="tile", disable=not self.progress, leave=False) as bar:
            for graphs, row_ids, locations, about in self._batches(rows, single=not _is_slide(job[0])):
                bar.total = about.pop("tiles")
                features, scores = self._run(network, graphs)
                parts.append(features)
                scored += [] if scores is None else [scores]
                ids += row_ids
                coords.append(locations)
                attrs = about
                bar.update(len(row_ids))
        if not parts:
            raise _NothingUsableError
        common = {
            "encoder": self._digests[0],
            "key": key,
            "settings": json.dumps(self.recipe.settings(), sort_keys=True),
        }
        features, where = np.concatenate(parts), np.concatenate(coords)
        scores = np.concatenate(scored) if scored else None
        if self.classifier is not None:
            common["classes"] = json.dumps(list(self.classifier.classes))
        if _is_slide(job[0]):
            write_features(path, features, where, {**attrs, **common, "id": rows[0].id}, scores)
        else:
            write_tile_embeddings(path, features, ids, where, common, scores)

    def _run(self, network: Callable[[Batch], Tensor], samples: Batch) -> tuple[np.ndarray, np.ndarray | None]:
        """Return embeddings (B, S) and, with a classifier, probabilities (B, K)."""
        self.encoder.eval()
        samples = samples.to(next(self.encoder.parameters()).device)
        with torch.inference_mode():
            if self.classifier is None:
                return network(samples).float().cpu().numpy(), None
            prepared = self.encoder.prepare(samples)
            theirs = prepared if self._prepared_alike else self.classifier.network.encoder.prepare(samples)
            scores = network(theirs).softmax(1)
            return self.encoder.embed(prepared).float().cpu().numpy(), scores.float().cpu().numpy()

    def _batches(
        self, rows: list[ManifestRow], single: bool
    ) -> Iterator[tuple[Batch, list[str], np.ndarray, dict[str, Any]]]:
        """Yield batches of samples with row id and location of each tile; record images that cannot be used."""
        if single:
            yield from self._tile_batches(rows)
            return
        row = rows[0]
        try:
            batches = stream_slide(row, self.recipe, self.to_sample, self.batch_tiles, self.num_workers)
            for graphs, locations, about in batches:
                yield graphs, [row.id] * len(locations), locations, about
        except UNUSABLE as error:
            self.result.skipped[row.id] = reason_of(error, row)
            raise _NothingUsableError from error  # also if a slide fails halfway: do not store a part of it

    def _tile_batches(self, rows: list[ManifestRow]) -> Iterator[tuple[Batch, list[str], np.ndarray, dict[str, Any]]]:
        dataset = PlainTiles(rows, self.recipe, self.to_sample, self.batch_tiles)
        for graphs, ids, locations, faults in DataLoader(dataset, batch_size=None, num_workers=self.num_workers):
            self.result.skipped |= faults
            if ids:
                yield graphs, ids, locations, {"tiles": len(rows)}


class _NothingUsableError(Exception):
    """Ends a job if nothing, or only a part of a slide, could be read."""


def embed_slides(
    encoder: TileEncoder,
    manifest: Manifest | Path | str,
    folder: Path | str,
    batch_tiles: int = 32,
    max_tiles_per_slide: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    progress: bool = True,
) -> Embedded:
    """Embed each slide of a manifest to ``<slide>.h5``, and all plain tiles to ``embeddings.h5``.

    Tiles are made as in the model's training. :class:`CohortEmbedding` describes memory use and resuming.

    Args:
        encoder: encoder of :func:`~hmgdm_monai.saving.encoder_file.load_encoder`; it is moved to ``device``.
        manifest: the cohort, or the path of its CSV.
        folder: folder of the files.
        batch_tiles: number of tiles per batch.
        max_tiles_per_slide: draws this many tiles of a slide that has more; None takes all.
        seed: seed of this draw.
        device: device of the network.
        num_workers: number of processes that read tiles in advance.
        progress: show a progress bar on stderr.

    Raises:
        InputError: the manifest or all of its images cannot be used, a setting is out of range, or the disk is full.
    """
    recipe = recipe_of(encoder.run_settings, max_tiles_per_slide, seed)
    return CohortEmbedding(
        encoder.to(device), recipe, manifest, folder, batch_tiles, num_workers, progress=progress
    ).run()


def _is_slide(unit: GraphUnit) -> bool:
    return len(unit.rows) == 1 and unit.name == unit.rows[0].id


def _stem(row_id: str) -> str:
    return row_id.rsplit("/", 1)[-1]
