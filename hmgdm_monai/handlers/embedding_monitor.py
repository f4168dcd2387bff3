"""Watch embeddings during training: collapse at every validation, a linear probe every few."""

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

    ``collapse_rank`` is in [0, 1]; near 1 all embeddings lie on a line. Embeddings are the evaluator's predictions.
    """

    def __init__(self) -> None:
        self.metric = EmbeddingCollapseMetric(include_indicators=["effective_rank"])
        self._embeddings: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator, before whatever reads its metrics."""
        engine.add_event_handler(Events.STARTED, lambda _: self._embeddings.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._score)

    def _collect(self, engine: Engine) -> None:
        outputs: Any = engine.state.output
        self._embeddings += [output["pred"].detach().float().cpu() for output in outputs]

    def _score(self, engine: Engine) -> None:
        if len(self._embeddings) < 2:
            return  # a lone embedding has no spread that could collapse
        scores: Any = self.metric(torch.stack(self._embeddings))
        engine.state.metrics["collapse_rank"] = float(scores["effective_rank_score"])


class EmbedsSamples(Protocol):
    """A network whose embeddings are probed."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""
        ...

    def embed(self, samples: Any, /) -> torch.Tensor:
        """Embeddings (B, S) of a batch of samples, on their device."""
        ...


class LinearProbeMonitor:
    """Every few epochs, how well frozen embeddings of the labeled tiles tell their labels.

    Adds ``probe_balanced_accuracy``, out of folds grouped by patient, to the evaluator's metrics, so that it is
    printed,
    logged and kept with them. The labels never reach the network. Where there are no labels, or too few, nothing is
    added
    and one line says so.

    Args:
        network: a module with ``embed``.
        dataset: latent graphs of all tiles.
        indices: tiles with labels. labels, patients: theirs.
        every: epochs between probes. batch_size: of embedding.
        seed: of the folds.
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
        """Register on the evaluator, before whatever reads its metrics."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._probe)

    def _probe(self, engine: Engine) -> None:
        # The evaluator's state outlives its runs: what an earlier epoch's probe found must not stand for this one.
        engine.state.metrics.pop("probe_balanced_accuracy", None)
        # The evaluator's epoch count is the trainer's: ValidationHandler runs it with the global epoch.
        if not self.possible or (engine.state.epoch - 1) % self.every:
            return
        state: Any = engine.state  # MONAI keeps the device there
        self.network.eval()
        loader = DataLoader(Subset(self.dataset, self.indices), batch_size=self.batch_size)
        with torch.no_grad():
            embeddings = torch.cat([self.network.embed(batch.to(state.device)).float().cpu() for batch in loader])
        try:
            with warnings.catch_warnings():
                # A probe that has not converged in its steps is still a probe; scikit-learn warns at every fold.
                warnings.filterwarnings("ignore", module="sklearn")
                predictions = probe_predictions(
                    embeddings.numpy(), self.labels, self.patients, seed=self.seed, strengths=(1e-2,)
                )
        except InputError as error:
            logger.info("no linear probe: %s", error)
            self.possible = False
            return
        engine.state.metrics["probe_balanced_accuracy"] = balanced_accuracy(self.labels, predictions)
