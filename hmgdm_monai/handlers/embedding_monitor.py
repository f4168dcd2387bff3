"""Monitor embeddings during training: collapse at every validation, a linear probe every few epochs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events
from monai.metrics import EmbeddingCollapseMetric
from torch.utils.data import Dataset, Subset
from torch_geometric.loader import DataLoader

from hmgdm_monai.errors import InputError
from hmgdm_monai.metrics.linear_probe import balanced_accuracy, probe_predictions

logger = logging.getLogger(__name__)


class CollapseMonitor:
    """Add MONAI's ``EmbeddingCollapseMetric`` of the validation embeddings to the evaluator's metrics.

    ``collapse_rank`` lies in [0, 1]. A value near 1 means that all embeddings lie on a line. The embeddings are the
    evaluator's predictions.
    """

    def __init__(self) -> None:
        self.metric = EmbeddingCollapseMetric(include_indicators=["effective_rank"])
        self._embeddings: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator, before handlers that read its metrics."""
        engine.add_event_handler(Events.STARTED, lambda _: self._embeddings.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._score)

    def _collect(self, engine: Engine) -> None:
        outputs: Any = engine.state.output
        self._embeddings += [output["pred"].detach().float().cpu() for output in outputs]

    def _score(self, engine: Engine) -> None:
        if len(self._embeddings) < 2:
            return  # a single embedding has no spread
        scores: Any = self.metric(torch.stack(self._embeddings))
        engine.state.metrics["collapse_rank"] = float(scores["effective_rank_score"])


class EmbedsSamples(Protocol):
    """A network whose embeddings a linear probe can use."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""
        ...

    def embed(self, samples: Any, /) -> torch.Tensor:
        """Return embeddings (B, S) of a batch of samples, on the device of the samples."""
        ...


class LinearProbeMonitor:
    """Every few epochs, predict the labels of tiles from frozen embeddings by a linear probe.

    The balanced accuracy of the predictions goes into the evaluator's metrics as ``probe_balanced_accuracy``, so it is
    printed, logged and kept with the other metrics. Predictions are out of fold, and folds are grouped by patient. The
    network never sees the labels. If there are no labels, or too few, nothing is added and one log line says so.

    Args:
        network: a module with ``embed``.
        dataset: latent graphs of all tiles.
        indices: indices of the tiles with labels.
        labels: label of each of these tiles.
        patients: patient of each of these tiles.
        every: number of epochs between two probes.
        batch_size: number of tiles embedded at once.
        seed: seed of the folds.
    """

    def __init__(
        self,
        network: EmbedsSamples,
        dataset: Dataset,
        indices: Sequence[int],
        labels: Sequence[str],
        patients: Sequence[str],
        every: int = 5,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        self.network, self.dataset, self.indices = network, dataset, list(indices)
        self.labels, self.patients = list(labels), list(patients)
        self.every, self.batch_size, self.seed = every, batch_size, seed
        self.possible = len(set(self.labels)) > 1
        if not self.possible:
            logger.info("no linear probe: the manifest has labels of %d classes", len(set(self.labels)))

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator, before handlers that read its metrics."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._probe)

    def _probe(self, engine: Engine) -> None:
        # The evaluator keeps its metrics between runs: remove the result of an earlier epoch.
        engine.state.metrics.pop("probe_balanced_accuracy", None)
        # ValidationHandler runs the evaluator with the trainer's epoch, so both have the same epoch number.
        if not self.possible or (engine.state.epoch - 1) % self.every:
            return
        state: Any = engine.state  # MONAI adds the device to the state
        self.network.eval()
        loader = DataLoader(Subset(self.dataset, self.indices), batch_size=self.batch_size)
        with torch.no_grad():
            embeddings = torch.cat([self.network.embed(batch.to(state.device)).float().cpu() for batch in loader])
        try:
            with warnings.catch_warnings():
                # A probe that has not converged is still valid; scikit-learn would warn in every fold.
                warnings.filterwarnings("ignore", module="sklearn")
                predictions = probe_predictions(
                    embeddings.numpy(), self.labels, self.patients, seed=self.seed, strengths=(1e-2,)
                )
        except InputError as error:
            logger.info("no linear probe: %s", error)
            self.possible = False
            return
        engine.state.metrics["probe_balanced_accuracy"] = balanced_accuracy(self.labels, predictions)
