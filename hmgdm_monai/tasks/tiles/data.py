"""Data of classification: labeled tiles of a manifest, prepared for the pretrained encoder."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset, get_worker_info
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from hmgdm_monai.data.manifest.manifest import Manifest, read_manifest
from hmgdm_monai.data.stores.ragged_store import TileInfo
from hmgdm_monai.errors import InputError
from hmgdm_monai.losses.class_weights import class_weights
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.preparation.cohort import CohortGraphs, build_graph_stores
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.preparation.stored_samples import Samples, stored_samples
from hmgdm_monai.saving.encoder_file import load_encoder
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.folds import check_classes

logger = logging.getLogger(__name__)

CACHE_BYTES = 2 * 2**30  # the latents of a tile take about 60 kB, the image of a tile of 256 px 200 kB


class PretrainedFile:
    """A pretrained encoder and its file.

    Args:
        path: a ``model.pt`` of train.json or dirl.json, or a folder in the layout of the Hugging Face hub.

    Attributes:
        path: path of the file or folder.
        encoder: the encoder with its settings.
        digest: first 16 characters of the SHA-256 of the file; for a folder, of its config, which contains the digest
            of the weights.

    Raises:
        InputError: the file does not exist or is no pretrained model.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.encoder: TileEncoder = load_encoder(self.path)
        file = self.path / "config.json" if self.path.is_dir() else self.path
        self.digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class LabeledTile:
    """A tile of the cohort with its location, patient and class.

    Attributes:
        info: manifest row, location and scale.
        patient: patient of the tile.
        label: class name.
        fold: fold from the manifest; None if the manifest contains no folds.
    """

    info: TileInfo
    patient: str
    label: str
    fold: int | None


class ClassificationData:
    """Labeled tiles, prepared for an encoder; stored results are used again.

    Tiles and superpixels are made with the settings that the model was trained with. The constructor reads nothing;
    :meth:`prepare` does all work that takes time. Rows without a label are skipped and named.

    Args:
        manifest: CSV with a column ``label``, of tiles or of slides. All tiles of a slide get the slide's label.
        store_dir: folder of graphs and latents; several runs may share it.
        pretrained: the model.
        max_tiles_per_slide: draws this many tiles of a slide that has more; None takes all.
        strict_manifest: refuse a manifest with any faulty row.
        seed: seed of the draw of tiles.
        device: device of the encoder.
        num_workers: number of processes that build graphs.
    """

    def __init__(
        self,
        manifest: Path | str,
        store_dir: Path | str,
        pretrained: PretrainedFile,
        max_tiles_per_slide: int | None = None,
        strict_manifest: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        num_workers: int = 0,
    ) -> None:
        self.manifest, self.store_dir, self.pretrained = Path(manifest), Path(store_dir), pretrained
        self.max_tiles_per_slide, self.strict_manifest, self.seed = max_tiles_per_slide, strict_manifest, seed
        self.device, self.num_workers = torch.device(device), num_workers

    def prepare(self) -> None:
        """Build missing graphs and latents.

        Raises:
            InputError: the manifest or its images cannot be used, or its labels do not allow classification.
        """
        _ = self.samples

    @property
    def note(self) -> str | None:
        """Note for figures if the data are the synthetic demo cohort."""
        return synthetic_note(self.manifest)

    @cached_property
    def cohort(self) -> CohortGraphs:
        """Graph stores of the labeled rows; skipped rows and images are logged."""
        labeled = self.listed
        recipe = recipe_of(self.pretrained.encoder.run_settings, self.max_tiles_per_slide, self.seed)
        cohort = build_graph_stores(labeled, self.store_dir / "graphs", recipe, self.num_workers)
        logger.info("cohort %s: %s", self.manifest, cohort.summary())
        return cohort

    @cached_property
    def samples(self) -> Samples:
        """All tiles, as the encoder has prepared them."""
        return stored_samples(self.pretrained.encoder, self.cohort, self.store_dir / "latents", self.device)

    @cached_property
    def tiles(self) -> list[LabeledTile]:
        """All tiles, in the order of the stores."""
        store = self.cohort.store(tiles=False)
        return [
            LabeledTile(store.tile_info(i), row.patient, str(row.label), row.fold)
            for i, row in enumerate(self.cohort.tile_rows)
        ]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(sorted({tile.label for tile in self.tiles}))

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64, index of each tile's class in :attr:`classes`."""
        return np.array([self.classes.index(tile.label) for tile in self.tiles], dtype=np.int64)

    @cached_property
    def patients(self) -> np.ndarray:
        """(N,) patient of each tile."""
        return np.array([tile.patient for tile in self.tiles])

    @cached_property
    def embeddings(self) -> np.ndarray:
        """(N, S) float32, embeddings by the pretrained model without fine-tuning."""
        encoder = self.pretrained.encoder.to(self.device).eval()
        every = np.arange(len(self.tiles))
        return over_samples(encoder.embed, self.labeled(every), self.device).numpy()

    def class_weights(self, indices: np.ndarray) -> Tensor:
        """Return weights (K,) that give all classes the same total weight.

        Args:
            indices: tiles to count.
        """
        return class_weights(self.labels[indices], len(self.classes))

    def labeled(self, indices: np.ndarray) -> Dataset:
        """Return prepared samples with their class ``y`` (1,) int64; they stay in memory once they are read.

        Args:
            indices: tiles to return.
        """
        return Subset(self._all_labeled, indices.tolist())

    @cached_property
    def _all_labeled(self) -> LabeledSamples:
        return LabeledSamples(self.samples, self.labels)

    @cached_property
    def listed(self) -> Manifest:
        """The manifest's rows with a label; the first use reads it.

        Raises:
            InputError: the manifest cannot be used, or its labels do not allow classification.
        """
        manifest = read_manifest(self.manifest, strict=self.strict_manifest)
        rows = tuple(row for row in manifest.rows if row.label is not None)
        if not rows:
            raise InputError(
                f"{self.manifest}: no row has a label; fill in a column 'label' with the class of each image"
            )
        check_classes([row.label for row in rows], [row.patient for row in rows])
        without = tuple(
            f"{self.manifest.name} line {row.line}: it has no label" for row in manifest.rows if row.label is None
        )
        return replace(manifest, rows=rows, faults=(*manifest.faults, *without))


class LabeledSamples(Dataset):
    """Prepared samples with their class ``y``.

    Samples stay in memory once they are read, until the cache holds ``cache_bytes``. The worker processes of a data
    loader do not cache: each worker would have its own copy and lose it at the end of the epoch.

    Args:
        samples: one prepared sample per tile.
        labels: (N,) class index of each tile.
        cache_bytes: maximum size of the cache; 0 disables it.
    """

    def __init__(self, samples: Samples, labels: np.ndarray, cache_bytes: int = CACHE_BYTES) -> None:
        self.samples, self.labels = samples, labels
        self._cache: dict[int, Data] = {}
        self._free_bytes = cache_bytes

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Data:
        sample = self._cache.get(index)
        if sample is None:
            sample = self.samples[index].clone()
            sample.y = torch.tensor([int(self.labels[index])])
            size = sum(value.nbytes for value in sample.to_dict().values() if isinstance(value, Tensor))
            if get_worker_info() is None and size <= self._free_bytes:
                self._free_bytes -= size
                self._cache[index] = sample
        return sample


def over_samples(compute: Any, samples: Dataset, device: torch.device | str, batch_size: int = 64) -> Tensor:
    """Apply ``compute`` to batches of prepared samples, without gradients.

    Args:
        compute: maps a batch to a tensor (B, ...).
        samples: prepared samples.
        device: device of the computation.
        batch_size: number of samples per batch.

    Returns:
        The joined results (N, ...), float32, on the CPU.
    """
    with torch.inference_mode():
        parts = [compute(batch.to(device)).float().cpu() for batch in DataLoader(samples, batch_size=batch_size)]
    return torch.cat(parts)


def predict_probabilities(network: nn.Module, samples: Dataset, device: torch.device | str) -> np.ndarray:
    """Return class probabilities (N, K) of prepared samples; the classifier is put into evaluation mode."""
    network.to(device).eval()
    return over_samples(network, samples, device).double().softmax(1).numpy()
