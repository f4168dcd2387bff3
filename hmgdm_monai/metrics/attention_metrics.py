"""Measures of attention over an epoch, as an Ignite metric for MONAI's evaluators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.exceptions import NotComputableError
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from torch import Tensor

from hmgdm_monai.metrics.attention import gini, head_cosine, mass_share, normalized_entropy, region_mass_ratio


class AttentionMetrics(Metric):
    """Means over images of the measures in :mod:`hmgdm_monai.metrics.attention`, with equal weight for each image.

    ``output_transform`` returns attention, or a tuple that starts with attention, token weights and areas:

    - attention (B, H, N) of a batch, or a list of (H, N) or (N,) per image, with different N for graphs;
    - token weights (B, N, R), or a list of (N, R), or None;
    - areas (B, N), or a list of (N,), or None.

    MONAI's ``from_engine(["attention", "token_weights"])`` gives such a tuple, also for decollated outputs.

    The results are ``attention_entropy``, ``attention_gini``, ``attention_share_60`` (for a mass of 0.6),
    ``attention_head_cosine``, and ``attention_on_<region>`` for each region name. An image without a region, or with a
    single head, is skipped in that mean; a mean over no image is omitted from the results, because NaN would disturb
    code that reads them. ``engine.state.metrics`` contains the results under these names, not under the metric's own.

    Args:
        region_names: names of the R regions, in order; empty omits regions.
        mass: mass for ``attention_share``, in (0, 1].
        output_transform: function from ``engine.state.output`` to the input described above.
        device: device of the sums.

    Raises:
        ValueError: the mass is outside (0, 1], or (on updating) token weights have another number of regions, or the
            shapes or values are invalid.
    """

    def __init__(
        self,
        region_names: Sequence[str] = (),
        mass: float = 0.6,
        output_transform: Callable[[Any], Any] = lambda output: output,
        device: str | torch.device = "cpu",
    ) -> None:
        if not 0 < mass <= 1:
            raise ValueError(f"mass must lie in (0, 1], not {mass}")
        self.mass = mass
        self.region_names = tuple(region_names)
        measures = ("entropy", "gini", f"share_{100 * mass:.3g}", "head_cosine")
        self.names = tuple(f"attention_{name}" for name in (*measures, *(f"on_{name}" for name in self.region_names)))
        # Ignite would unroll the tuple as a pair of predictions and labels.
        super().__init__(output_transform, device, skip_unrolling=True, metrics_result_mode="flatten")

    @reinit__is_reduced
    def reset(self) -> None:
        """Reset to no images."""
        self._sums = torch.zeros(len(self.names), dtype=torch.float64, device=self._device)
        self._counts = torch.zeros_like(self._sums)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the images of a batch, in one of the forms above."""
        # A list is attention per image; only a tuple holds several inputs.
        weights, token_weights, areas = (*(output if isinstance(output, tuple) else (output,)), None, None)[:3]
        if isinstance(weights, Tensor):
            self._add(weights, token_weights, areas)
            return
        for i, row in enumerate(weights):
            heads = row.reshape(1, -1, row.shape[-1])
            self._add(heads, *(None if part is None else part[i].unsqueeze(0) for part in (token_weights, areas)))

    @sync_all_reduce("_sums:SUM", "_counts:SUM")
    def compute(self) -> dict[str, float]:
        """Means by name.

        Raises:
            NotComputableError: there was no image.
        """
        if not bool(self._counts.any()):
            raise NotComputableError("AttentionMetrics has seen no image")
        rows = zip(self.names, self._sums.tolist(), self._counts.tolist(), strict=True)
        return {name: total / count for name, total, count in rows if count}

    def _add(self, weights: Tensor, token_weights: Tensor | None, areas: Tensor | None) -> None:
        values = [
            normalized_entropy(weights, areas).mean(1),
            gini(weights, areas).mean(1),
            mass_share(weights, self.mass, areas).mean(1),
            head_cosine(weights),
        ]
        if self.region_names and token_weights is not None:
            if token_weights.shape[-1] != len(self.region_names):
                raise ValueError(
                    f"token weights of {token_weights.shape[-1]} regions for {len(self.region_names)} names"
                )
            values += region_mass_ratio(weights, token_weights, areas).mean(1).unbind(1)
        table = torch.stack(values).to(self._device)
        self._sums[: len(table)] += table.nansum(1)
        self._counts[: len(table)] += (~table.isnan()).sum(1)
