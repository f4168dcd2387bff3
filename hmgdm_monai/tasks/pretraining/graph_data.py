"""Data of pretraining: from one manifest to latent graphs, split by patient."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from hmgdm_monai.data.entity_graph import EntityGraph, entity_latents
from hmgdm_monai.data.manifest.manifest import ManifestRow, read_manifest
from hmgdm_monai.data.stores.latent_store import LatentStore
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.cohort import CohortGraphs, build_graph_stores
from hmgdm_monai.preparation.encode import encode_stores
from hmgdm_monai.preparation.given_graphs import build_given_graphs
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.ranks import first_rank_first, is_first_rank
from hmgdm_monai.transforms.degrade import RandDegrade
from hmgdm_monai.transforms.entity_windows import graph_windows

logger = logging.getLogger(__name__)

SPLITS = ("training", "validation")


class PretrainingData:
    """The data of pretraining; missing files are made on first use.

    The constructor reads nothing. The first call that needs graphs builds the graphs that are not stored yet.

    Args:
        manifest: CSV of the cohort.
        store_dir: folder of the stores. Several runs may share it, because the name of each file depends on everything
            that determines its content.
        recipe: how tiles are chosen and processed. If it has no transforms, the manifest names graphs of another
            program, which have latents and no tiles.
        val_fraction: fraction of the patients held out for validation; at least one patient.
        strict_manifest: refuse a manifest with any faulty row, instead of skipping and naming such rows.
        seed: seed of the split.
        num_workers: number of processes that build graphs.
        degraded_views: K, number of degraded views of each tile that are encoded in addition to the original tile.
        degrade: makes the degraded views.

    Raises:
        InputError: ``val_fraction`` or ``degraded_views`` is out of range, or degraded views are set for graphs without
            tiles.
    """

    def __init__(
        self,
        manifest: Path | str,
        store_dir: Path | str,
        recipe: TileRecipe,
        val_fraction: float = 0.2,
        strict_manifest: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        degraded_views: int = 0,
        degrade: RandDegrade | None = None,
    ) -> None:
        if not 0.0 < val_fraction < 1.0:
            raise InputError(f"val_fraction must lie between 0 and 1, exclusive, got {val_fraction}")
        if degraded_views < 0:
            raise InputError(f"degraded_views must not be negative, got {degraded_views}")
        if recipe.transforms is None and degraded_views:
            raise InputError("entity_kind graphs: there are no images to degrade; set degraded_views 0")
        self.manifest, self.store_dir = Path(manifest), Path(store_dir)
        self.recipe, self.val_fraction = recipe, val_fraction
        self.strict_manifest, self.seed, self.num_workers = strict_manifest, seed, num_workers
        self.degraded_views, self.degrade = degraded_views, degrade or RandDegrade()
        self.cpu_s = 0.0  # CPU time of encoding in this process, in seconds
        self._cohort: CohortGraphs | None = None
        self._latents: list[LatentStore] = []  # of the original tiles, and of each degraded view

    @property
    def has_tiles(self) -> bool:
        """Whether the graphs have images."""
        return self.recipe.transforms is not None

    @property
    def cohort(self) -> CohortGraphs:
        """Graph stores of the cohort, built if missing; what was skipped is logged once."""
        if self._cohort is None:
            with first_rank_first():
                self._cohort = self._build()
            logger.info("cohort %s: %s", self.manifest, self._cohort.summary())
        return self._cohort

    def _build(self) -> CohortGraphs:
        manifest = read_manifest(self.manifest, strict=self.strict_manifest)
        self._check_patients({row.patient for row in manifest.rows})
        if not self.has_tiles:
            folder, recipe = self.store_dir / "given", self.recipe
            return build_given_graphs(manifest, folder, recipe.max_tiles, recipe.seed, is_first_rank())
        folder = self.store_dir / "graphs"
        return build_graph_stores(manifest, folder, self.recipe, self.num_workers, progress=is_first_rank())

    def prepare(self) -> None:
        """Build missing graph stores, and check that patients can be held out.

        Raises:
            InputError: the manifest or its images cannot be used, or there is a single patient.
        """
        self.patients("validation")

    def patients(self, split: str) -> list[str]:
        """Return the patients of a split, drawn by the seed.

        Args:
            split: "training" or "validation".

        Raises:
            InputError: the cohort has a single patient, so none can be held out.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        everyone = sorted(self.cohort.indices_by_patient())
        self._check_patients(everyone)
        held_out = max(1, round(self.val_fraction * len(everyone)))
        order = np.random.default_rng(self.seed).permutation(len(everyone))
        chosen = order[:held_out] if split == "validation" else order[held_out:]
        return [everyone[i] for i in sorted(chosen)]

    def _check_patients(self, patients: Collection[str]) -> None:
        if len(patients) < 2:
            raise InputError(
                f"{self.manifest}: has usable tiles of {len(patients)} patient, but validation holds out patients; "
                "give two or more (if there is only one slide, enter its parts as patients)"
            )

    def fingerprint(self) -> str:
        """Return a short text that identifies tiles and validation patients; it must be the same in a resumed run.

        Otherwise a patient added to the manifest would change the split, and validation would use training tiles.
        """
        lines = [f"{row.id}\t{row.patient}" for row in self.cohort.tile_rows] + self.patients("validation")
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
        return f"{len(self.cohort.indices_by_patient())} patients, {len(self.cohort.tile_rows)} tiles ({digest})"

    def tile_indices(self, split: str) -> list[int]:
        """Return the indices, in the stores, of the tiles of a split."""
        by_patient = self.cohort.indices_by_patient()
        return sorted(index for patient in self.patients(split) for index in by_patient[patient])

    def tile_graphs(self, split: str) -> Dataset:
        """Return entity graphs with their tiles, for the training of a window autoencoder."""
        return Subset(self.cohort.store(), self.tile_indices(split))

    def encode(self, entities: EntityEncoder, device: Any = "cpu") -> None:
        """Encode all graphs with the frozen entity encoder; the names of the latent stores contain its digest.

        Degraded views have a separate folder. Graphs that come with latents are not encoded.

        Args:
            entities: entity encoder.
            device: device of the entity encoder.
        """
        cohort = self.cohort
        if not self.has_tiles:
            self._latents = [LatentStore(cohort.paths, edges=entities.edge_latents)]
            return

        def encoded(degrade: RandDegrade | None = None, view: int = 0) -> LatentStore:
            folder = self.store_dir / ("latents" if degrade is None else "views")
            return LatentStore(
                encode_stores(
                    entities, cohort.paths, folder, device=device, progress=is_first_rank(), degrade=degrade, view=view
                )
            )

        start = time.process_time()
        with first_rank_first():
            self._latents = [encoded(), *(encoded(self.degrade, view) for view in self._view_numbers())]
        self.cpu_s += time.process_time() - start

    def _view_numbers(self) -> range:
        return range(1, self.degraded_views + 1)

    def latents(self, view: int = 0) -> LatentStore:
        """Return the latent graphs of all tiles, in the order of the graph stores.

        Args:
            view: 0 for the original tiles, 1 to K for a degraded view.

        Raises:
            InputError: the graphs have not been encoded yet.
        """
        if not self._latents:
            raise InputError("there are no latent graphs yet: encode the cohort first")
        return self._latents[view]

    def latent_graphs(self, split: str | None = None, views: bool = False) -> _LatentGraphs:
        """Return the latent graphs of a split; they may be encoded after this call.

        Args:
            split: "training" or "validation"; None for all tiles.
            views: add the latents of the K degraded views: ``vertex_views`` (V, K, Z) and, if edges have latents,
                ``edge_views`` (E, K, Z).
        """
        indices = range(len(self.cohort.tile_rows)) if split is None else self.tile_indices(split)
        return _LatentGraphs(self, indices, self.degraded_views if views else 0)

    def sample_latents(self, tiles: int = 512) -> Tensor:
        """Return latents (N, Z) of vertices, and of edges if they have latents, of training tiles drawn by the seed.

        Args:
            tiles: maximum number of tiles.
        """
        graphs = self.latent_graphs("training")
        chosen = np.random.default_rng(self.seed).permutation(len(graphs))[:tiles]
        parts = [graphs[int(i)] for i in chosen]
        return torch.cat([entity_latents(graph) for graph in parts])

    def superpixel_index(self, superpixels: int = 4096, window_px: int = 48) -> NearestSuperpixels:
        """Return latents and windows of superpixels of training tiles, drawn by the seed.

        Args:
            superpixels: N, maximum number of superpixels.
            window_px: side of the windows.
        """
        store, indices, rng = self.cohort.store(), self.tile_indices("training"), np.random.default_rng(self.seed)
        latents: list[Tensor] = []
        windows: list[Tensor] = []
        count = 0
        for place in rng.permutation(len(indices)):
            index = indices[int(place)]
            vertices, _ = graph_windows(store[index], window_px, edges=False)
            latents.append(self.latents()[index].vertex_latents)
            windows.append(vertices)
            count += len(vertices)
            if count >= superpixels:
                break
        return NearestSuperpixels(torch.cat(latents)[:superpixels], torch.cat(windows)[:superpixels])

    def labeled_tiles(self, most: int = 2000) -> tuple[list[int], list[ManifestRow]]:
        """Return indices and rows of tiles whose row has a label, at most ``most`` tiles drawn by the seed."""
        rows = self.cohort.tile_rows
        labeled = np.array([i for i, row in enumerate(rows) if row.label is not None], dtype=int)
        if len(labeled) > most:
            labeled = np.sort(np.random.default_rng(self.seed).choice(labeled, most, replace=False))
        return [int(i) for i in labeled], [rows[i] for i in labeled]


class _LatentGraphs(Dataset):
    """Latent graphs of some tiles, read on access: a config builds its data sets before graphs are encoded."""

    def __init__(self, data: PretrainingData, indices: Sequence[int], views: int) -> None:
        self.data, self.indices, self.views = data, indices, views

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> EntityGraph:
        place = self.indices[index]
        graph = self.data.latents()[place]
        if self.views:
            others = [self.data.latents(view)[place] for view in range(1, self.views + 1)]
            graph.vertex_views = torch.stack([other.vertex_latents for other in others], dim=1)
            if "edge_latents" in graph:
                graph.edge_views = torch.stack([other.edge_latents for other in others], dim=1)
        return graph
