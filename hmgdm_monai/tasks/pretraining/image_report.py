"""The output of a run on images: encoder, metrics and figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
from hmgdm_monai.networks.encoders.vit_tile_encoder import ViTTileEncoder
from hmgdm_monai.networks.methods.dirl import DiRL
from hmgdm_monai.networks.methods.masked_autoencoder import MaskedAutoencoder
from hmgdm_monai.saving.encoder_file import save_encoder
from hmgdm_monai.tasks.figure_note import synthetic_note
from hmgdm_monai.tasks.pretraining.graph_report import cohort_metrics, probe_chance, stage_metrics
from hmgdm_monai.tasks.pretraining.image_data import ImageData
from hmgdm_monai.tasks.pretraining.quality_report import write_quality
from hmgdm_monai.tasks.run_folder import write_json
from hmgdm_monai.transforms.paired_views import PairedViews

logger = logging.getLogger(__name__)

TILES_DRAWN = 4


class ImageReport:
    """Write ``model.pt``, ``metrics.json`` and the figures of a run, drawn from validation tiles.

    Args:
        output_dir: output folder of the run.
        data: training data.
        network: trained network.
        views: views of the training.
        checkpoint: checkpoint of the training, for its history.
        run_settings: settings that are stored in the model file.
        name: name of the method in ``metrics.json``.
        title: name of the method in figures.
    """

    def __init__(
        self,
        output_dir: Path | str,
        data: ImageData,
        network: DiRL | MaskedAutoencoder,
        views: PairedViews,
        checkpoint: StageCheckpoint,
        run_settings: Mapping[str, Any],
        name: str = "dirl",
        title: str = "DiRL",
    ) -> None:
        self.output_dir, self.data, self.network, self.views = Path(output_dir), data, network, views
        self.run_settings = dict(run_settings)
        self.checkpoint, self.name, self.title = checkpoint, name, title

    @property
    def note(self) -> str | None:
        """Note for figures if the data are the synthetic demo cohort."""
        return synthetic_note(self.data.tiles.manifest)

    def encoder(self) -> ViTTileEncoder:
        """Return the trained encoder for downstream tasks."""
        vit = self.network.encoder
        settings = {"vit": vit.settings, "readout": self.network.readout}
        return ViTTileEncoder(vit, settings, self.run_settings)

    def write(self) -> None:
        """Write all files, each completely or not at all, and log their paths."""
        model, metrics, figures = (self.output_dir / name for name in ("model.pt", "metrics.json", "figures"))
        save_encoder(model, self.encoder())
        write_json(metrics, self.metrics())
        self._draw(figures)
        tiles = self.data.tiles
        write_quality(tiles.cohort, tiles.recipe, self.output_dir, self.note)
        logger.info("cohort: %s", self.data.tiles.cohort.summary())
        logger.info("checkpoint: %s", model)
        logger.info("metrics:    %s", metrics)
        logger.info("figures:    %s", figures)

    def metrics(self) -> dict[str, Any]:
        """Return history and kept epoch, the cohort with what was skipped, and the regions."""
        return {
            "data": self.note or str(self.data.tiles.manifest),
            "cohort": cohort_metrics(self.data.tiles),
            "regions": {
                "prior": self.data.prior.settings(),
                "notes": list(self.data.regions.notes()),
            },
            self.name: stage_metrics(self.checkpoint),
        }

    @torch.no_grad()
    def _draw(self, folder: Path) -> None:
        from hmgdm_monai.visualize.attention import draw_attention
        from hmgdm_monai.visualize.curves import draw_curves
        from hmgdm_monai.visualize.save import save_figure
        from hmgdm_monai.visualize.views import draw_views

        chance = probe_chance(self.data.tiles)
        if self.checkpoint.history:
            save_figure(draw_curves(self.checkpoint.history, self.title, chance, self.note), folder / "curves.png")
        tiles = self.data.with_regions("validation")
        chosen = [tiles[len(tiles) * i // TILES_DRAWN] for i in range(min(TILES_DRAWN, len(tiles)))]
        images, regions = (torch.cat([getattr(tile, name) for tile in chosen]) for name in ("image", "regions"))

        generator = torch.Generator().manual_seed(self.data.tiles.seed)
        figure = draw_views(
            images, regions, self.views.batch(images, regions, generator), self.data.prior.names, self.note
        )
        save_figure(figure, folder / "views.png")

        encoder = self.encoder().vit.cpu().eval()
        attention = encoder.attention(images.float() / 255).numpy()
        rows = images.shape[-2] // encoder.patch_px
        shares = attention.reshape(*attention.shape[:2], rows, -1) * attention.shape[-1]  # (T, H, h, w)
        maps = {"mean over heads": list(shares.mean(1))}
        maps |= {f"head {head + 1}": list(shares[:, head]) for head in range(shares.shape[1])}
        pixels = [np.ascontiguousarray(image) for image in images.numpy().transpose(0, 2, 3, 1)]
        title = "Attention of the class token, last layer"
        save_figure(draw_attention(pixels, maps, title, note=self.note), folder / "attention.png")
