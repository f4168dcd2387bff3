"""The output of a run of train_entities.json: entity encoder, metrics and figures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder
from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
from hmgdm_monai.ranks import is_first_rank
from hmgdm_monai.saving.entities_file import save_entities
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData
from hmgdm_monai.tasks.pretraining.graph_report import cohort_metrics, stage_metrics
from hmgdm_monai.tasks.run_folder import write_json
from hmgdm_monai.transforms.entity_windows import graph_windows

logger = logging.getLogger(__name__)


class WindowAutoencoderReport:
    """Write ``entities.pt``, ``metrics.json`` and the figures of a run.

    Args:
        output_dir: output folder of the run.
        data: training data.
        network: trained network.
        checkpoint: checkpoint of the training, for its history.
    """

    def __init__(
        self, output_dir: Path | str, data: PretrainingData, network: WindowAutoencoder, checkpoint: StageCheckpoint
    ) -> None:
        self.output_dir, self.data = Path(output_dir), data
        self.network, self.checkpoint = network, checkpoint

    def write(self) -> None:
        """Write all files, each completely or not at all, and log their paths; only the first rank writes."""
        if not is_first_rank():
            return
        model, metrics, figures = (self.output_dir / name for name in ("entities.pt", "metrics.json", "figures"))
        save_entities(model, self.network)
        write_json(metrics, self.metrics())
        self._draw(figures)
        logger.info("cohort: %s", self.data.cohort.summary())
        logger.info("entity encoder: %s", model)
        logger.info("metrics:        %s", metrics)
        logger.info("figures:        %s", figures)

    def metrics(self) -> dict[str, Any]:
        """Return history and best epoch, and the cohort with what was skipped."""
        return {
            "data": synthetic_note(self.data.manifest) or str(self.data.manifest),
            "cohort": cohort_metrics(self.data),
            "entities": stage_metrics(self.checkpoint),
        }

    @torch.no_grad()
    def _draw(self, folder: Path) -> None:
        from hmgdm_monai.visualize.curves import draw_curves
        from hmgdm_monai.visualize.save import save_figure
        from hmgdm_monai.visualize.windows import draw_windows

        note = synthetic_note(self.data.manifest)
        if self.checkpoint.history:
            save_figure(draw_curves(self.checkpoint.history, "Window autoencoder", None, note), folder / "curves.png")
        graph = self.data.tile_graphs("validation")[0]
        network = self.network.cpu().eval()
        vertices, edges = graph_windows(graph, network.window_px, network.edge_latents)
        windows = vertices if edges is None else torch.cat((vertices, edges))
        is_edge = torch.arange(len(windows)) >= len(vertices)
        decoded = network.decode(network.encode(windows))
        save_figure(draw_windows(windows.float() / 255.0, decoded, is_edge, note=note), folder / "windows.png")
