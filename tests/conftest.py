"""Fixtures for all tests: real data where it is at hand, small synthetic slides, and models in miniature."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from hmgdm_monai.entities.entity_encoder import EntityEncoder
    from hmgdm_monai.networks.tile_encoder import TileEncoder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real slides and tiles; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("HMGDM_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HMGDM_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def stained() -> Callable[[int, int], np.ndarray]:
    """Function (width, height) -> (height, width, 3) uint8 of smooth stained texture, always the same."""
    from scipy.ndimage import gaussian_filter

    def draw(width: int, height: int) -> np.ndarray:
        noise = gaussian_filter(np.random.default_rng(7).normal(size=(height, width, 2)), (4, 4, 0))
        share = 1 / (1 + np.exp(-noise / noise.std((0, 1))))
        density = share[..., :1] * [0.56, 0.72, 0.41] * 1.5 + share[..., 1:] * [0.22, 0.80, 0.56] * 0.8
        return np.rint(240 * np.exp(-density)).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def write_tiff() -> Callable[..., Path]:
    """Function that writes a TIFF, a pyramid where it is given several levels (finest first)."""
    import tifffile

    def write(
        path: Path, levels: Sequence[np.ndarray], mpp: float | None = 0.5, tile_px: int | None = 128, **options: object
    ) -> Path:
        options = {"photometric": "rgb", **options}
        if tile_px is not None:
            options["tile"] = (tile_px, tile_px)
        with tifffile.TiffWriter(path) as writer:
            for number, pixels in enumerate(levels):
                level_mpp = None if mpp is None else mpp * levels[0].shape[1] / pixels.shape[1]
                resolution = (
                    {} if mpp is None else {"resolution": (1e4 / level_mpp,) * 2, "resolutionunit": "CENTIMETER"}
                )
                writer.write(pixels, subfiletype=int(number > 0), metadata=None, **resolution, **options)
        return path

    return write


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of six synthetic slides of 256 px at 1 um a px, a patient each; two labels, three patients to each.

    Each holds four tiles of 128 px.
    """
    from hmgdm_monai.data.demo import make_demo_cohort

    cohort = make_demo_cohort(tmp_path_factory.mktemp("cohort"), n_patients=6, slide_px=256, mpp=1.0)
    rows = [f"slides/patient_{i:02d}.tif,patient_{i:02d},{('benign', 'Gleason 3+4')[i % 2]}" for i in range(6)]
    manifest = cohort.folder / "labelled.csv"
    manifest.write_text("\n".join(["image,patient,label", *rows]) + "\n")
    return manifest


class TinyModels:
    """Models in miniature that nobody trained, the same at every call, and the settings that they are built from.

    They take tiles of 64 px.
    """

    backbone = {"name": "efficientnet_lite0", "blocks": [2]}
    hmgdm = {"latent_dim": 24, "hidden_dim": 16, "num_layers": 2, "heads": 2}
    vit = {"vit": {"image_px": 64, "patch_px": 16, "hidden_dim": 16, "num_layers": 2, "heads": 2}, "readout": "mean"}
    data = {
        "tile_size_px": 64,
        "tile_mpp": 0.5,
        "tile_overlap_px": 0,
        "min_tissue": 0.5,
        "stain_method": None,
        "n_segments": 12,
        "compactness": 20.0,
        "merge_threshold": None,
    }
    noise = {
        "num_timesteps": 100,
        "beta_start": 1e-7,
        "beta_end": 0.02,
        "prediction_type": "sample",
        "noise_intensity": "dynamic",
    }

    def entities(self, kind: str = "backbone", **settings: Any) -> EntityEncoder:
        """An entity encoder of a kind: "backbone" (D = 24) or "window_autoencoder" (windows of 8 px, D = 64)."""
        import torch

        from hmgdm_monai.entities.backbone_entities import BackboneEntities
        from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if kind == "window_autoencoder":
                made = WindowAutoencoder(**{"window_px": 8, "widths": (8,), "latent_channels": 1, **settings})
            else:
                made = BackboneEntities(**{"backbones": self.backbone, "published": False, **settings})
                for module in made.modules():  # PyTorch's own start would let the tile fade from block to block
                    if isinstance(module, torch.nn.Conv2d):
                        torch.nn.init.kaiming_normal_(module.weight)
        return made.requires_grad_(False).eval()

    def encoder(
        self,
        kind: str = "hmgdm",
        run: dict[str, Any] | None = None,
        entities: EntityEncoder | None = None,
        **settings: Any,
    ) -> TileEncoder:
        """An encoder of tiles.

        Args:
            kind: "hmgdm" or "vit".
            run: its run settings; ``data`` and ``noise`` where None.
            entities: of an encoder of graphs; the one of a backbone where None.
            settings: of the network of graphs, other than those of ``hmgdm``.
        """
        import torch

        from hmgdm_monai.networks.build import build_hmgdm
        from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder
        from hmgdm_monai.networks.pretrained import build_tile_encoder

        run = {"data": dict(self.data), "hmgdm": dict(self.noise)} if run is None else run
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if kind == "vit":
                return build_tile_encoder("vit", self.vit, run).eval()
            network = {**self.hmgdm, **settings}
            if entities is None:
                entities = self.entities(edge_latents=network.get("edge_latents", True))
            network["latent_dim"] = entities.latent_dim
            return GraphTileEncoder(entities, build_hmgdm(**network), {"hmgdm": network}, run).eval()


@pytest.fixture(scope="session")
def tiny() -> TinyModels:
    """Models in miniature."""
    return TinyModels()


@pytest.fixture
def toy_stage(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Function that builds stage 2 in miniature, anew at each call: engines, network, checkpoint in one folder.

    12 random latent graphs to train on and 4 to validate on, wired as in train.json.
    """
    import torch
    from monai.engines import SupervisedEvaluator, SupervisedTrainer
    from monai.handlers import LrScheduleHandler, ValidationHandler
    from torch_geometric.loader import DataLoader

    from diffusers import DDPMScheduler  # isort: skip
    from hmgdm_monai.data.entity_graph import EntityGraph
    from hmgdm_monai.diffusion.noising import GraphNoising
    from hmgdm_monai.engines.iteration import MaskedDiffusionIteration
    from hmgdm_monai.handlers.early_stop import EarlyStop
    from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
    from hmgdm_monai.handlers.validation_score import ValidationLoss
    from hmgdm_monai.losses.masked_graph import MaskedGraphLoss
    from hmgdm_monai.metrics.mean_loss import MeanLoss
    from hmgdm_monai.networks.build import build_hmgdm

    def graph(seed: int) -> EntityGraph:
        draw = torch.Generator().manual_seed(seed)
        first = torch.randint(6, (9,), generator=draw)
        return EntityGraph(
            pos=torch.rand(6, 2, generator=draw),
            edge_index=torch.stack((first, (first + torch.randint(1, 6, (9,), generator=draw)) % 6)),
            vertex_latents=torch.randn(6, 4, generator=draw),
            edge_latents=torch.randn(9, 4, generator=draw),
        )

    graphs = [graph(seed) for seed in range(16)]

    def build(
        max_epochs: int = 4,
        *,
        seed: int = 0,
        lr: float = 1e-3,
        patience: int = 50,
        batch_size: int = 4,
        accumulation_steps: int = 1,
        max_grad_norm: float | None = 10.0,
        val_interval: int = 1,
        kl_weight: float = 0.1,
        device: str = "cpu",
        amp: bool = False,
        path: Path | None = None,
    ) -> SimpleNamespace:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        network = build_hmgdm(4, hidden_dim=8, num_layers=1, heads=2, bottleneck=kl_weight > 0).to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.6, patience=1)
        noising = GraphNoising(DDPMScheduler(clip_sample=False, prediction_type="sample", beta_schedule="sigmoid"))
        iteration = MaskedDiffusionIteration(MaskedGraphLoss(kl_weight), noising, seed, max_grad_norm)
        evaluator = SupervisedEvaluator(
            device=device,
            val_data_loader=DataLoader(graphs[12:], batch_size=2),
            network=network,
            iteration_update=iteration.validate,
            key_val_metric={"val_loss": MeanLoss()},
            metric_cmp_fn=lambda new, best: new < best,
            amp=amp,
        )
        sampler = torch.utils.data.DistributedSampler(graphs[:12], 1, 0, shuffle=True, seed=seed)
        trainer = SupervisedTrainer(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=DataLoader(graphs[:12], batch_size=batch_size, sampler=sampler),
            network=network,
            optimizer=optimizer,
            loss_function=iteration.loss,
            iteration_update=iteration,
            train_handlers=[
                ValidationHandler(val_interval, evaluator),
                LrScheduleHandler(schedule, print_lr=False, step_transform=ValidationLoss(evaluator)),
            ],
            amp=amp,
            accumulation_steps=accumulation_steps,
        )
        checkpoint = StageCheckpoint(
            path or tmp_path / "stage.pt",
            {
                "network": network,
                "optimizer": optimizer,
                "scheduler": schedule,
                "early_stop": EarlyStop(patience, evaluator),
            },
            evaluator=evaluator,
            settings={"lr": lr, "network": {"hidden_dim": 8}},
        )
        checkpoint.attach(trainer)
        return SimpleNamespace(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            iteration=iteration,
            evaluator=evaluator,
            trainer=trainer,
            checkpoint=checkpoint,
            graphs=graphs,
        )

    return build
