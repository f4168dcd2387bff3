"""The output of a pretraining run: model, metrics and figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hmgdm_monai.diffusion.noising import Noising
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
from hmgdm_monai.networks.encoders.graph_embedder import GraphEmbedder
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.methods.hmgdm import HMGDM
from hmgdm_monai.ranks import is_first_rank
from hmgdm_monai.saving.encoder_file import save_encoder
from hmgdm_monai.tasks.denoising_figure import denoising_figure
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.pretraining.graph_data import SPLITS, PretrainingData
from hmgdm_monai.tasks.pretraining.quality_report import write_quality
from hmgdm_monai.tasks.run_folder import write_json

logger = logging.getLogger(__name__)


class GraphReport:
    """Write ``model.pt``, ``superpixels.pt``, ``metrics.json`` and the figures of a run.

    Figures show the first validation tile with at least five vertices. If graphs have no tiles, only curves are drawn,
    and there is no ``superpixels.pt``.

    Args:
        output_dir: output folder of the run.
        data: training data.
        noising: forward process; None for a method without noise, which has no figure of denoising.
        entities: frozen entity encoder.
        hmgdm: trained network; if it is not H-MGDM, only encoder and readout are kept.
        checkpoint: checkpoint of the training, for its history.
        run_settings: settings that are stored in the model file.
        sampling_steps: number of steps of the denoising figure.
        name: name of the method in ``metrics.json``.
        title: name of the method in its figure.
    """

    def __init__(
        self,
        output_dir: Path | str,
        data: PretrainingData,
        noising: Noising | None,
        entities: EntityEncoder,
        hmgdm: GraphEmbedder,
        checkpoint: StageCheckpoint,
        run_settings: Mapping[str, Any],
        sampling_steps: int = 50,
        name: str = "hmgdm",
        title: str = "Masked graph diffusion",
    ) -> None:
        self.output_dir, self.data, self.noising = Path(output_dir), data, noising
        self.entities, self.hmgdm = entities, hmgdm
        self.checkpoint, self.run_settings = checkpoint, dict(run_settings)
        self.sampling_steps, self.name, self.title = sampling_steps, name, title

    @property
    def note(self) -> str | None:
        """Note for figures if the data are the synthetic demo cohort."""
        return synthetic_note(self.data.manifest)

    def write(self) -> None:
        """Write all files, each completely or not at all, and log their paths; only the first rank writes."""
        if not is_first_rank():
            return
        model, metrics, figures = (self.output_dir / name for name in ("model.pt", "metrics.json", "figures"))
        save_encoder(model, self.encoder())
        write_json(metrics, self.metrics())
        self._draw_curves(figures)
        if self.data.has_tiles:
            superpixels = self.data.superpixel_index()
            superpixels.save(self.output_dir / "superpixels.pt")
            self._draw_tile(figures, superpixels)
            write_quality(self.data.cohort, self.data.recipe, self.output_dir, self.note)
        cohort = self.data.cohort
        logger.info("cohort: %s", cohort.summary())
        logger.info("checkpoint: %s", model)
        logger.info("metrics:    %s", metrics)
        logger.info("figures:    %s", figures)

    def encoder(self) -> GraphTileEncoder:
        """Return the trained encoder for downstream tasks."""
        whole = isinstance(self.hmgdm, HMGDM)
        kept = self.hmgdm if whole else self.hmgdm.without_pretext()
        settings = {"hmgdm" if whole else "graph_embedder": kept.settings}
        return GraphTileEncoder(self.entities, kept, settings, self.run_settings)

    def metrics(self) -> dict[str, Any]:
        """Return history and best epoch, the cohort with what was skipped, and the end of the noise schedule."""
        return {
            "data": self.note or str(self.data.manifest),
            "cohort": cohort_metrics(self.data),
            **({} if self.noising is None else {"abar_at_last_timestep": self.noising.signal_at_end}),
            self.name: stage_metrics(self.checkpoint),
        }

    def _draw_curves(self, folder: Path) -> None:
        from hmgdm_monai.visualize.curves import draw_curves
        from hmgdm_monai.visualize.save import save_figure

        if self.checkpoint.history:
            figure = draw_curves(self.checkpoint.history, self.title, probe_chance(self.data), self.note)
            save_figure(figure, folder / "curves.png")

    @torch.no_grad()
    def _draw_tile(self, folder: Path, superpixels: NearestSuperpixels) -> None:
        from hmgdm_monai.visualize.entity_graph import entity_graph_figure
        from hmgdm_monai.visualize.save import save_figure

        index, kind = self._tile_to_draw(), self.data.recipe.entity_kind
        graph = self.data.cohort.store()[index]
        image = graph.image[0]
        save_figure(entity_graph_figure(image, graph, graph.label_map, self.note, kind), folder / "entity_graph.png")
        if self.noising is None or not isinstance(self.hmgdm, HMGDM):
            return
        self.hmgdm.cpu().eval()
        figure = denoising_figure(
            superpixels,
            self.hmgdm,
            self.noising,
            image,
            graph.label_map,
            self.data.latents()[index],
            self.sampling_steps,
            self.data.seed,
            self.note,
            kind,
        )
        save_figure(figure, folder / "denoising.png")

    def _tile_to_draw(self) -> int:
        latents, indices = self.data.latents(), self.data.tile_indices("validation")
        return next((i for i in indices if latents[i].num_vertices >= 5), indices[0])


def cohort_metrics(data: PretrainingData) -> dict[str, Any]:
    """Return the sizes of the cohort, and what was skipped and why."""
    return {
        "units": len(data.cohort.done),
        "tiles": {name: len(data.tile_indices(name)) for name in SPLITS},
        "patients": {name: len(data.patients(name)) for name in SPLITS},
        "skipped": [{"what": what, "reason": reason} for what, reason in data.cohort.skipped],
        "left_out": data.cohort.left_out,
        "notes": data.cohort.notes,
    }


def probe_chance(data: PretrainingData) -> float | None:
    """Return the balanced accuracy of guessing the labels; None without labels."""
    labels = {row.label for row in data.labeled_tiles()[1]}
    return 1.0 / len(labels) if labels else None


def stage_metrics(checkpoint: StageCheckpoint) -> dict[str, Any]:
    """Return history and best epoch of a stage."""
    epoch = checkpoint.best["epoch"]
    best = {"epoch": epoch, "value": checkpoint.best["value"] if epoch else None}  # JSON cannot store infinity
    return {
        "epochs": len(checkpoint.history),
        "stopped_early": checkpoint.stopped_early,
        "best": {**best, "metric": checkpoint.key_metric},
        "history": checkpoint.history,
    }
