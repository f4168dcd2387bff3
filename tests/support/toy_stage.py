"""A training in miniature, for tests of engines and handlers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest


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
    from hmgdm_monai.diffusion.noising import Noising
    from hmgdm_monai.engines.masked_diffusion_iteration import MaskedDiffusionIteration
    from hmgdm_monai.handlers.early_stop import EarlyStop
    from hmgdm_monai.handlers.stage_checkpoint import StageCheckpoint
    from hmgdm_monai.handlers.validation_score import ValidationLoss
    from hmgdm_monai.losses.masked_graph import MaskedGraphLoss
    from hmgdm_monai.metrics.mean_loss import MeanLoss
    from hmgdm_monai.networks.methods.build import build_hmgdm

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
        sizes = {"hidden_dim": 8, "num_layers": 1, "heads": 2, "self_attention_depth": 2}
        network = build_hmgdm(4, **sizes, bottleneck=kl_weight > 0).to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.6, patience=1)
        noising = Noising(DDPMScheduler(clip_sample=False, prediction_type="sample", beta_schedule="sigmoid"))
        iteration = MaskedDiffusionIteration(MaskedGraphLoss(kl_weight), noising, seed, max_grad_norm)
        evaluator = SupervisedEvaluator(
            device=device,
            val_data_loader=DataLoader(graphs[12:], batch_size=2),
            network=network,
            iteration_update=iteration.validate,
            key_val_metric={"val_loss": MeanLoss()},
            metric_cmp_fn=lambda new, best: new < best,
            val_handlers=[LrScheduleHandler(schedule, print_lr=False, step_transform=ValidationLoss())],
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
            train_handlers=[ValidationHandler(val_interval, evaluator)],
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
