"""The baselines as a user runs them, in miniature: each an override of dirl.json or train.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.engines.masked_image_iteration import MaskedImageIteration
from hmgdm_monai.errors import input_error_in
from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.encoders.vit_tile_encoder import ViTTileEncoder
from hmgdm_monai.saving.encoder_file import load_encoder

IMAGES = {
    "dirl_backbone": ("train.json", "dirl.json", "dirl_backbone.json"),
    "simclr": ("train.json", "dirl.json", "baselines/simclr.json"),
    "dino": ("train.json", "dirl.json", "baselines/dino.json"),
    "mae": ("train.json", "dirl.json", "baselines/mae.json"),
    "diffmae": ("train.json", "dirl.json", "baselines/mae.json", "baselines/diffmae.json"),
}
GRAPHS = {"graphmae": ("train.json", "baselines/graphmae.json")}


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores that all runs share."""
    return tmp_path_factory.mktemp("baseline_stores")


@pytest.fixture(scope="session")
def image_workflow(workflow: Callable[..., Any], stores: Path) -> Callable[..., Any]:
    """Function (method, output_dir, **overrides) -> its workflow."""

    def build(method: str, output_dir: Path, **settings: Any) -> Any:
        return workflow(output_dir, IMAGES[method], **{"dataset_dir": str(stores), "max_epochs": 1, **settings})

    return build


@pytest.fixture(scope="session")
def baseline_run(
    image_workflow: Callable[..., Any], workflow: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Function method -> the folder of its run in miniature, which is made once."""
    made: dict[str, Path] = {}

    def run(method: str) -> Path:
        if method not in made:
            made[method] = tmp_path_factory.mktemp(method) / "run"
            if method in IMAGES:
                image_workflow(method, made[method]).run()
            else:
                workflow(made[method], GRAPHS[method], max_epochs=1).run()
        return made[method]

    return run


@pytest.mark.parametrize("method", [*IMAGES, *GRAPHS])
def test_a_run_leaves_numbers_figures_and_a_model_that_loads(method: str, baseline_run: Callable[[str], Path]) -> None:
    folder = baseline_run(method)
    metrics = json.loads((folder / "metrics.json").read_text())
    (record,) = metrics[method]["history"]
    assert record["loss"] > 0 and record["val_loss"] > 0 and "probe_balanced_accuracy" in record
    assert ("attention_entropy" in record) == (method in IMAGES)
    assert (folder / "checkpoints" / f"{method}.pt").is_file()
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert "curves.png" in figures and "denoising.png" not in figures
    encoder = load_encoder(folder / "model.pt")
    assert isinstance(encoder, ViTTileEncoder if method in IMAGES else GraphTileEncoder)
    tiles = torch.randint(0, 256, (2, 3, 128, 128), generator=torch.Generator().manual_seed(0)).float()
    embeddings = encoder(tiles)
    read_out = 0 if method in IMAGES else 2 * encoder.entities.latent_dim  # graphs: mean and deviation of the latents
    assert embeddings.shape == (2, 32 + read_out) and not torch.equal(embeddings[0], embeddings[1])
    # What serves the pretext task alone is not kept.
    assert not any(
        name.startswith(("hmgdm.dec", "hmgdm.denoiser", "decoder", "blocks")) for name in encoder.state_dict()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"loss::region_loss::negatives": "same_class"},
        {"loss::region_loss::negatives": "other_images", "prior::name": "superpixels", "prior::max_superpixels": 60},
    ],
    ids=["same_class", "superpixels"],
)
def test_simclr_tells_regions_apart_where_asked(
    settings: dict[str, Any], image_workflow: Callable[..., Any], tmp_path: Path
) -> None:
    image_workflow("simclr", tmp_path, dense_weight=1.0, **settings).run()
    (record,) = json.loads((tmp_path / "metrics.json").read_text())["simclr"]["history"]
    assert record["loss"] > 0 and ("attention_on_cell" in record) == ("prior::name" not in settings)
    loss = load_encoder(tmp_path / "model.pt").run_settings["loss"]
    assert loss["region_loss"]["negatives"] == settings["loss::region_loss::negatives"]


@pytest.mark.parametrize("method", ["diffmae", "graphmae"])
def test_its_encoder_classifies(
    method: str,
    baseline_run: Callable[[str], Path],
    workflow: Callable[..., Any],
    labeled_tiles: Path,
    tmp_path: Path,
) -> None:
    given = {"manifest": labeled_tiles, "model": baseline_run(method) / "model.pt"}
    given = {name: str(path) for name, path in given.items()}
    workflow(tmp_path, ("classify.json",), run_id="run", mode="finetune", max_epochs=1, **given).run()
    assert 0 <= json.loads((tmp_path / "metrics.json").read_text())["overall"]["balanced_accuracy"] <= 1


def test_a_killed_run_goes_on_and_other_settings_do_not_get_in(
    image_workflow: Callable[..., Any], kill_at: Callable, killed: type, tmp_path: Path
) -> None:
    image_workflow("diffmae", tmp_path / "whole", max_epochs=2).run()
    torch.manual_seed(5)  # another process begins with another state
    kill_at(MaskedImageIteration, 5)
    with pytest.raises(killed):
        image_workflow("diffmae", tmp_path / "killed", max_epochs=2).run()
    image_workflow("diffmae", tmp_path / "killed", max_epochs=2).run()
    whole, resumed = (load_encoder(tmp_path / name / "model.pt").state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    with pytest.raises(RuntimeError) as caught:
        image_workflow("diffmae", tmp_path / "killed", max_epochs=2, **{"network_def::mask_ratio": 0.5}).run()
    assert "network_def.mask_ratio 0.75, not 0.5" in str(input_error_in(caught.value))


def test_the_clock_counts_encoding_and_a_budget_ends_training(workflow: Callable[..., Any], tmp_path: Path) -> None:
    from hmgdm_monai.data.files.checkpoint_file import read_checkpoint

    configs = (*GRAPHS["graphmae"], "baselines/clock.json", "baselines/clock_graphs.json")
    short = {"max_epochs": 50, "budget_cpu_min": 1e-6}
    workflow(tmp_path, configs, **short).run()
    assert json.loads((tmp_path / "metrics.json").read_text())["graphmae"]["epochs"] == 1
    clock = read_checkpoint(tmp_path / "checkpoints" / "graphmae.pt")["state"]["clock"]
    assert clock["epochs"] == 1 and clock["samples"] == 20 and clock["cpu_s"] >= clock["training_cpu_s"] > 0
    assert clock["before_cpu_s"] > 0
    with pytest.raises(RuntimeError) as caught:  # a run that a smaller budget ended is no run of a larger one
        workflow(tmp_path, configs, **{**short, "budget_cpu_min": 1.0}).run()
    assert "clock.cpu_min" in str(input_error_in(caught.value))
