"""Data of pretraining: from one manifest to latent graphs, split by patient."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
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
    """What pretraining reads, made where it is missing.

    Nothing is read when this is built; the first call that needs graphs builds those that are not stored yet.

    Args:
        manifest: CSV of the cohort.
        store_dir: folder of the stores; may be shared between runs, since every file is keyed by what shaped it.
        recipe: how tiles are chosen, and what is made of each. Where it has no transforms, the manifest names graphs of
            another program, which come with their latents and without tiles.
        val_fraction: share of patients held out for validation, at least one.
        strict_manifest: refuse a manifest with any faulty row, instead of leaving such rows out and naming them.
        seed: of the split.
        num_workers: processes that build graphs.
        degraded_views: K, how many degraded views of each tile are encoded beside the tile as it is.
        degrade: how tiles are degraded for them.

    Raises:
        InputError: ``val_fraction`` or ``degraded_views`` out of range, or graphs without tiles are to be degraded.
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
            raise InputError("entity_kind graphs: there is no image that could be degraded; set degraded_views 0")
        self.manifest, self.store_dir = Path(manifest), Path(store_dir)
        self.recipe, self.val_fraction = recipe, val_fraction
        self.strict_manifest, self.seed, self.num_workers = strict_manifest, seed, num_workers
        self.degraded_views, self.degrade = degraded_views, degrade or RandDegrade()
        self.cpu_s = 0.0  # CPU time, in seconds, that encoding has taken in this process
        self._cohort: CohortGraphs | None = None
        self._latents: list[LatentStore] = []  # of the tiles as they are, and of each degraded view

    @property
    def has_tiles(self) -> bool:
        """Whether there are images behind the graphs."""
        return self.recipe.transforms is not None

    @property
    def cohort(self) -> CohortGraphs:
        """Graph stores of the cohort, built where they are missing; what was left out is logged, once."""
        if self._cohort is None:
            with first_rank_first():
                self._cohort = self._build()
            logger.info("cohort %s: %s", self.manifest, self._cohort.summary())
        return self._cohort

    def _build(self) -> CohortGraphs:
        manifest = read_manifest(self.manifest, strict=self.strict_manifest)
        if not self.has_tiles:
            folder, recipe = self.store_dir / "given", self.recipe
            return build_given_graphs(manifest, folder, recipe.max_tiles, recipe.seed, is_first_rank())
        folder = self.store_dir / "graphs"
        return build_graph_stores(manifest, folder, self.recipe, self.num_workers, progress=is_first_rank())

    def prepare(self) -> None:
        """Build what is missing of the graph stores."""
        _ = self.cohort

    def patients(self, split: str) -> list[str]:
        """Patients of "training" or "validation", drawn by the seed.

        Raises:
            InputError: the cohort has a single patient, so that none can be held out.
        """
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        everyone = sorted(self.cohort.indices_by_patient())
        if len(everyone) < 2:
            raise InputError(
                f"{self.manifest}: has usable tiles of {len(everyone)} patient; validation holds patients out, so give "
                "two or more (where one slide is all there is, name its parts as patients)"
            )
        held_out = max(1, round(self.val_fraction * len(everyone)))
        order = np.random.default_rng(self.seed).permutation(len(everyone))
        chosen = order[:held_out] if split == "validation" else order[held_out:]
        return [everyone[i] for i in sorted(chosen)]

    def fingerprint(self) -> str:
        """Which tiles there are and whose are held out, in a few words: what a run that is taken up again must share.

        A patient added to the manifest would otherwise redraw the split, and validate on what was trained on.
        """
        lines = [f"{row.id}\t{row.patient}" for row in self.cohort.tile_rows] + self.patients("validation")
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
        return f"{len(self.cohort.indices_by_patient())} patients, {len(self.cohort.tile_rows)} tiles ({digest})"

    def tile_indices(self, split: str) -> list[int]:
        """Indices, in the stores, of the tiles of a split."""
        by_patient = self.cohort.indices_by_patient()
        return sorted(index for patient in self.patients(split) for index in by_patient[patient])

    def tile_graphs(self, split: str) -> Dataset:
        """Entity graphs with their tiles, for the training of a window autoencoder."""
        return Subset(self.cohort.store(), self.tile_indices(split))

    def encode(self, entities: EntityEncoder, device: Any = "cpu") -> None:
        """Encode all graphs with the frozen entity encoder, into latent stores keyed by its digest.

        Degraded views go into a folder of their own. Graphs that came with their latents are not encoded.
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
        """Latent graphs of all tiles, in the order of the graph stores: as they are, or of a degraded view from 1 on.

        Raises:
            InputError: they have not been encoded yet.
        """
        if not self._latents:
            raise InputError("the latent graphs are not there yet: encode the cohort first")
        return self._latents[view]

    def latent_graphs(self, split: str | None = None, views: bool = False) -> _LatentGraphs:
        """Latent entity graphs of a split, or of all tiles. They may be encoded after this call.

        With ``views`` they carry the latents of the K degraded ones, too: ``vertex_views`` (V, K, Z) and, where edges
        have latents, ``edge_views`` (E, K, Z).
        """
        indices = range(len(self.cohort.tile_rows)) if split is None else self.tile_indices(split)
        return _LatentGraphs(self, indices, self.degraded_views if views else 0)

    def sample_latents(self, tiles: int = 512) -> Tensor:
        """Latents (N, Z) of vertices, and of edges where they have any, of training tiles drawn by the seed."""
        graphs = self.latent_graphs("training")
        chosen = np.random.default_rng(self.seed).permutation(len(graphs))[:tiles]
        parts = [graphs[int(i)] for i in chosen]
        return torch.cat([entity_latents(graph) for graph in parts])

    def superpixel_index(self, superpixels: int = 4096, window_px: int = 48) -> NearestSuperpixels:
        """Latents and windows of superpixels of training tiles, drawn by the seed.

        Args:
            superpixels: N, at most.
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
        """Tiles whose row has a label, at most ``most`` of them drawn by the seed: their indices and rows."""
        rows = self.cohort.tile_rows
        labeled = np.array([i for i, row in enumerate(rows) if row.label is not None], dtype=int)
        if len(labeled) > most:
            labeled = np.sort(np.random.default_rng(self.seed).choice(labeled, most, replace=False))
        return [int(i) for i in labeled], [rows[i] for i in labeled]


class _LatentGraphs(Dataset):
    """Latent graphs of some tiles, read when asked for: a config builds its data sets before graphs are encoded."""

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
