from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from hmgdm_monai.tasks.tiles.data import LabeledSamples

BYTES = 400 + 8  # of one sample: 100 float32, and its class as int64


class Stored:
    """Ten samples that count how often each has been read."""

    def __init__(self) -> None:
        self.reads = np.zeros(10, int)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Data:
        self.reads[index] += 1
        return Data(image=torch.full((1, 100), float(index)))


def read_twice(cache_bytes: int) -> list[int]:
    stored = Stored()
    samples = LabeledSamples(stored, np.arange(10), cache_bytes)
    for _ in range(2):
        for index in range(10):
            assert samples[index].y.tolist() == [index] and float(samples[index].image[0, 0]) == index
    return stored.reads.tolist()


def test_the_cache_is_bounded_by_bytes() -> None:
    assert read_twice(10 * BYTES) == [1] * 10
    assert read_twice(4 * BYTES - 1) == [1] * 3 + [4] * 7
    assert read_twice(0) == [4] * 10


class KeptInWorker(LabeledSamples):
    """Gives, with each sample, how many samples the process keeps."""

    def __getitem__(self, index: int) -> Data:
        sample = super().__getitem__(index).clone()
        sample.kept = len(self._cache)
        return sample


def test_worker_processes_keep_nothing() -> None:
    samples = KeptInWorker(Stored(), np.arange(10))
    for workers, expected in ((1, 0), (0, 10)):
        batches = list(DataLoader(samples, batch_size=5, num_workers=workers))
        assert torch.cat([batch.y for batch in batches]).tolist() == list(range(10))
        assert max(int(batch.kept.max()) for batch in batches) == expected
