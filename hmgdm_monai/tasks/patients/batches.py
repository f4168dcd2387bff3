"""Batches of patients in which strata are evenly distributed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from hmgdm_monai.errors import InputError


class StratifiedBatches(Sampler[list[int]]):
    """Shuffled batches with evenly distributed strata: deaths, classes, or quantiles of a number.

    A Cox step without deaths would learn nothing, and a step without a class would forget it.

    Args:
        strata: (P,) stratum of each patient to draw from, integers.
        batch_size: approximate number of patients per step; the sizes of the batches of an epoch differ by one or two.
        seed: together with the epoch (see ``set_epoch``) it determines the order.

    Raises:
        InputError: the batch size is below two; a batch of one patient allows no comparison.
    """

    def __init__(self, strata: np.ndarray, batch_size: int, seed: int = 0) -> None:
        if batch_size < 2:
            raise InputError(f"batch_size must be at least 2, not {batch_size}: a step compares patients")
        self.strata, self.seed, self.epoch = np.asarray(strata), seed, 0
        self.count = max(1, round(len(self.strata) / batch_size))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration, so that a resumed run shuffles like an uninterrupted run."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        kinds = np.unique(self.strata)[::-1]
        dealt = np.concatenate([rng.permutation(np.flatnonzero(self.strata == kind)) for kind in kinds])
        for batch in range(self.count):
            yield dealt[batch :: self.count].tolist()
