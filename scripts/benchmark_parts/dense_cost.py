"""Cost of the dense task in a training step of DiRL, with the sizes of dirl.json, on one thread."""

from __future__ import annotations

from collections.abc import Callable

from benchmark_parts.common import one_thread, spread, time_in_turns

BATCH, TILE_PX, REGIONS = 32, 256, 3


def training_step(method: str, weight: float) -> Callable[[], None]:
    """Return a whole step: views, student and teacher, loss, backward, optimizer. Random pixels cost the same."""
    import torch

    from hmgdm_monai.losses.dense_matching import DenseContrastiveLoss, DenseDINOLoss
    from hmgdm_monai.losses.dino import DINOLoss
    from hmgdm_monai.losses.dirl import DiRLLoss
    from hmgdm_monai.losses.info_nce import GlobalContrastiveLoss
    from hmgdm_monai.networks.encoders.tile_vit import TileViT
    from hmgdm_monai.networks.methods.dirl import DiRL
    from hmgdm_monai.transforms.paired_views import PairedViews

    torch.manual_seed(0)
    network = DiRL(TileViT(), method, dense=weight > 0, num_regions=REGIONS)
    if method == "dino":
        loss = DiRLLoss(DINOLoss(512), DenseDINOLoss(512), weight)
    else:
        loss = DiRLLoss(GlobalContrastiveLoss(), DenseContrastiveLoss(), weight)
    optimizer = torch.optim.AdamW(network.student.parameters(), 1e-4)
    views, generator = PairedViews(128, (0.25, 1.0)), torch.Generator().manual_seed(0)
    images = torch.randint(256, (BATCH, 3, TILE_PX, TILE_PX), dtype=torch.uint8)
    regions = torch.randint(REGIONS, (BATCH, 1, TILE_PX, TILE_PX), dtype=torch.uint8)

    def step() -> None:
        optimizer.zero_grad()
        loss(*network(*views.batch(images, regions, generator))).total.backward()
        optimizer.step()
        network.update_teacher()

    return step


def main(repeats: int = 15) -> None:
    """Measure both methods alternately and print a markdown table."""
    print("| method | step without, s | step with the dense task, s | with / without |\n|---|---|---|---|")
    with one_thread():
        for method in ("dino", "contrastive"):
            work = {"without": training_step(method, 0.0), "with": training_step(method, 1.0)}
            seconds = time_in_turns(work, repeats)
            ratio = seconds["with"] / seconds["without"]
            cells = (spread(seconds["without"]), spread(seconds["with"]), spread(ratio, 3))
            print(f"| {method} | " + " | ".join(cells) + " |")
