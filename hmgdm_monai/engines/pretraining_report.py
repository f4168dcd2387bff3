"""What a pretraining run leaves behind: the model, its numbers and its figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hmgdm_monai.data.entity_graph import entity_windows
from hmgdm_monai.diffusion.noising import GraphNoising
from hmgdm_monai.engines.denoising_figure import denoising_figure
from hmgdm_monai.engines.figure_note import synthetic_note
from hmgdm_monai.engines.pretraining_data import SECTIONS, PretrainingData
from hmgdm_monai.engines.run_folder import write_json
from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder
from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.graph_trunk import GraphTrunk
from hmgdm_monai.networks.hmgdm import HMGDM
from hmgdm_monai.networks.pretrained import save_pretrained
from hmgdm_monai.ranks import is_first_rank

logger = logging.getLogger(__name__)


class PretrainingReport:
    """Write ``model.pt``, ``metrics.json`` and the figures of a run.

    Figures are drawn from the first validation tile with five vertices or more.

    Args:
        output_dir: of the run. data: what it was trained on.
        noising: of stage 2; None for a method without, which has no figure of denoising.
        autoencoder, hmgdm: the trained networks. autoencoder_settings, hmgdm_settings: what they were built from; of a
            network of graphs that is no H-MGDM, the settings of its trunk, and only that is kept.
        autoencoder_checkpoint, hmgdm_checkpoint: of the stages, for their history.
        run_settings: kept in the model file.
        sampling_steps: of the denoising figure.
        name: of stage 2, in ``metrics.json``. title: the same, on its figure.
    """

    def __init__(
        self,
        output_dir: Path | str,
        data: PretrainingData,
        noising: GraphNoising | None,
        autoencoder: EntityAutoencoder,
        hmgdm: GraphTrunk,
        autoencoder_settings: Mapping[str, Any],
        hmgdm_settings: Mapping[str, Any],
        autoencoder_checkpoint: StageCheckpoint,
        hmgdm_checkpoint: StageCheckpoint,
        run_settings: Mapping[str, Any],
        sampling_steps: int = 50,
        name: str = "hmgdm",
        title: str = "masked graph diffusion",
    ) -> None:
        self.output_dir, self.data, self.noising = Path(output_dir), data, noising
        self.autoencoder, self.hmgdm = autoencoder, hmgdm
        self.autoencoder_settings, self.hmgdm_settings = dict(autoencoder_settings), dict(hmgdm_settings)
        self.autoencoder_checkpoint, self.hmgdm_checkpoint = autoencoder_checkpoint, hmgdm_checkpoint
        self.run_settings, self.sampling_steps = dict(run_settings), sampling_steps
        self.name, self.title = name, title

    @property
    def note(self) -> str | None:
        """What figures must say of their data: that the demo cohort is synthetic."""
        return synthetic_note(self.data.manifest)

    def write(self) -> None:
        """Write everything, each file whole or not at all, and say where it is; of several ranks, the first does."""
        if not is_first_rank():
            return
        model, metrics, figures = (self.output_dir / name for name in ("model.pt", "metrics.json", "figures"))
        save_pretrained(model, self.encoder())
        write_json(metrics, self.metrics())
        self._draw(figures)
        cohort = self.data.cohort
        logger.info("cohort: %s", cohort.summary())
        logger.info("checkpoint: %s", model)
        logger.info("metrics:    %s", metrics)
        logger.info("figures:    %s", figures)

    def encoder(self) -> GraphTileEncoder:
        """The trained encoder, as downstream takes it."""
        whole = isinstance(self.hmgdm, HMGDM)
        settings = {"autoencoder": self.autoencoder_settings, "hmgdm" if whole else "trunk": self.hmgdm_settings}
        return GraphTileEncoder(
            self.autoencoder, self.hmgdm if whole else self.hmgdm.trunk(), settings, self.run_settings
        )

    def metrics(self) -> dict[str, Any]:
        """Histories and best epochs of both stages, the cohort with what was left out, and the noise schedule's end."""
        return {
            "data": self.note or str(self.data.manifest),
            "cohort": cohort_metrics(self.data),
            **({} if self.noising is None else {"abar_at_last_timestep": self.noising.signal_at_end}),
            "autoencoder": stage_metrics(self.autoencoder_checkpoint),
            self.name: stage_metrics(self.hmgdm_checkpoint),
        }

    @torch.no_grad()
    def _draw(self, folder: Path) -> None:
        from hmgdm_monai.visualize.curves import draw_curves
        from hmgdm_monai.visualize.entity_graph import entity_graph_figure
        from hmgdm_monai.visualize.save import save_figure
        from hmgdm_monai.visualize.windows import draw_windows

        chance = probe_chance(self.data)
        for name, checkpoint, title in (
            ("curves_autoencoder", self.autoencoder_checkpoint, "Stage 1: entity autoencoder"),
            ("curves", self.hmgdm_checkpoint, f"Stage 2: {self.title}"),
        ):
            if checkpoint.history:
                save_figure(draw_curves(checkpoint.history, title, chance, self.note), folder / f"{name}.png")
        edges = self.data.edge_windows
        store = self.data.cohort.store(window_px=self.data.window_px, label_map=True, edge_windows=edges)
        index = self._tile_to_draw()
        graph, image = store[index], torch.from_numpy(store.image(index).transpose(2, 0, 1).copy())
        save_figure(entity_graph_figure(image, graph, graph.label_map, self.note), folder / "entity_graph.png")

        self.autoencoder.cpu().eval()
        self.hmgdm.cpu().eval()
        windows = entity_windows(graph).float() / 255.0
        decoded = self.autoencoder.decode(self.autoencoder.encode(windows))
        is_edge = torch.arange(len(windows)) >= graph.num_vertices
        save_figure(draw_windows(windows, decoded, is_edge, note=self.note), folder / "windows.png")

        if self.noising is None or not isinstance(self.hmgdm, HMGDM):
            return
        figure = denoising_figure(
            self.autoencoder,
            self.hmgdm,
            self.noising,
            image,
            graph.label_map,
            self.data.latents()[index],
            self.sampling_steps,
            self.data.seed,
            self.note,
        )
        save_figure(figure, folder / "denoising.png")

    def _tile_to_draw(self) -> int:
        latents, indices = self.data.latents(), self.data.tile_indices("validation")
        return next((i for i in indices if latents[i].num_vertices >= 5), indices[0])


def cohort_metrics(data: PretrainingData) -> dict[str, Any]:
    """Sizes of the cohort, and what was left out and why."""
    return {
        "units": len(data.cohort.done),
        "tiles": {name: len(data.tile_indices(name)) for name in SECTIONS},
        "patients": {name: len(data.patients(name)) for name in SECTIONS},
        "skipped": [{"what": what, "reason": reason} for what, reason in data.cohort.skipped],
    }


def probe_chance(data: PretrainingData) -> float | None:
    """Balanced accuracy of guessing the labels; None without any."""
    labels = {row.label for row in data.labelled_tiles()[1]}
    return 1.0 / len(labels) if labels else None


def stage_metrics(checkpoint: StageCheckpoint) -> dict[str, Any]:
    """History and best epoch of a stage."""
    epoch = checkpoint.best["epoch"]
    best = {"epoch": epoch, "value": checkpoint.best["value"] if epoch else None}  # infinity is no JSON
    return {
        "epochs": len(checkpoint.history),
        "stopped_early": checkpoint.stopped_early,
        "best": {**best, "metric": checkpoint.key_metric},
        "history": checkpoint.history,
    }
