"""train.json, train_entities.json and paper.json, from a manifest to a model, interrupted and not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.io import imsave
from torch_geometric.data import Batch

from hmgdm_monai.engines.masked_diffusion_iteration import MaskedDiffusionIteration
from hmgdm_monai.engines.window_autoencoder_iteration import WindowAutoencoderIteration
from hmgdm_monai.errors import input_error_in

ROOT = Path(__file__).parents[2]


ENTITIES = ("train.json", "train_entities.json")
PAPER = ("train.json", "paper.json")


def figures_of(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "figures").iterdir()}


def mlflow_runs(folder: Path) -> dict[str, Any]:
    """The runs of a folder by their names."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlruns.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'hmgdm_pretraining'")
    runs = client.search_runs([experiment.experiment_id])
    found = {run.info.run_name: run for run in runs}
    assert len(found) == len(runs)  # gone on with, not begun anew
    return found


def test_a_run_leaves_model_metrics_superpixels_and_figures(whole_run: Any) -> None:
    from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
    from hmgdm_monai.saving.encoder_file import load_encoder

    model = load_encoder(whole_run.folder / "model.pt")
    assert model.run_settings["recipe"]["tile_spec"]["size_px"] == 128
    assert model.hmgdm.encoder.latent_dim == model.entities.latent_dim == 24
    assert figures_of(whole_run.folder) == {"curves", "entity_graph", "denoising"}
    assert NearestSuperpixels.load(whole_run.folder / "superpixels.pt").latents.shape[1] == 24
    metrics = whole_run.metrics
    assert "Synthetic" in metrics["data"]
    assert metrics["cohort"]["patients"] == {"training": 5, "validation": 1}
    assert metrics["cohort"]["tiles"] == {"training": 20, "validation": 4}
    assert metrics["hmgdm"]["epochs"] == 3
    assert "probe_balanced_accuracy" not in metrics["hmgdm"]["history"][1]  # an epoch without a probe
    assert 0.0 <= metrics["hmgdm"]["history"][2]["probe_balanced_accuracy"] <= 1.0


def test_edges_have_latents_where_asked_and_nothing_otherwise(
    workflow: Callable[..., Any], whole_run: Any, tmp_path: Path
) -> None:
    from hmgdm_monai.data.stores.latent_store import LatentStore
    from hmgdm_monai.saving.encoder_file import load_encoder

    settings = {"edge_latents": False, "max_epochs": 1}
    workflow(tmp_path, **settings).run()
    workflow(tmp_path, **settings, run_id="run").run()  # finished: agrees with its own settings
    for folder, edges in ((tmp_path, False), (whole_run.folder, True)):
        model = load_encoder(folder / "model.pt")
        assert model.entities.edge_latents == model.hmgdm.encoder.edge_latents == edges
        assert model.run_settings["backbone_entities"]["edge_latents"] == edges
        for name in ("latents", "views"):
            store = LatentStore(sorted((folder / "stores" / name).glob("*.h5")))
            assert len(store) == 24 and all(("edge_latents" in store[index]) == edges for index in (0, 23))
        assert "denoising" in figures_of(folder)


def test_mlflow_has_every_epoch_in_one_run(whole_run: Any, entities_run: Any) -> None:
    from mlflow import MlflowClient

    for name, outcome in (("hmgdm", whole_run), ("entities", entities_run)):
        runs = mlflow_runs(outcome.folder)
        assert list(runs) == [name]
        client, history = MlflowClient(f"sqlite:///{outcome.folder / 'mlruns.db'}"), outcome.metrics[name]["history"]
        for ours, theirs in (("loss", "train_loss"), ("val_loss", "val_loss")):
            logged = client.get_metric_history(runs[name].info.run_id, theirs)
            assert {m.step: m.value for m in logged} == pytest.approx({e["epoch"]: e[ours] for e in history})
    assert not (Path.cwd() / "mlruns").exists()


def test_killed_again_and_again_equals_one_go(
    killed: type, whole_run: Any, workflow: Callable[..., Any], outcome: type, kill_at: Callable, tmp_path: Path
) -> None:
    for step in (2, 12):  # before the first checkpoint, and in the third epoch
        torch.manual_seed(step)  # another process begins with another state
        kill_at(MaskedDiffusionIteration, step)
        with pytest.raises(killed):
            workflow(tmp_path).run()
    workflow(tmp_path).run()
    resumed = outcome(tmp_path)
    assert resumed.metrics["hmgdm"] == whole_run.metrics["hmgdm"]
    assert resumed.same_weights(whole_run)
    assert list(mlflow_runs(tmp_path)) == ["hmgdm"]


def test_order_of_rows_and_folder_of_the_manifest_change_nothing(
    workflow: Callable[..., Any], outcome: type, whole_run: Any, small_cohort: Path, tmp_path: Path
) -> None:
    header, *rows = small_cohort.read_text().splitlines()
    manifest = tmp_path / "elsewhere.csv"
    manifest.write_text("\n".join([header, *(f"{small_cohort.parent}/{row}" for row in reversed(rows))]) + "\n")
    workflow(tmp_path / "run", manifest=str(manifest)).run()
    moved = outcome(tmp_path / "run")
    assert moved.metrics["hmgdm"] == whole_run.metrics["hmgdm"]
    assert moved.same_weights(whole_run)


def test_a_finished_run_trains_nothing_and_goes_on_when_given_more(
    killed: type, workflow: Callable[..., Any], outcome: type, kill_at: Callable, tmp_path: Path, whole_run: Any
) -> None:
    workflow(tmp_path, max_epochs=2).run()
    first = outcome(tmp_path)
    assert not first.same_weights(whole_run)
    kill_at(MaskedDiffusionIteration, 1)
    workflow(tmp_path, max_epochs=2).run()  # not killed: there is no training step
    assert outcome(tmp_path).same_weights(first)
    with pytest.raises(killed):
        workflow(tmp_path, max_epochs=3).run()
    workflow(tmp_path, max_epochs=3, run_id="run").run()
    assert outcome(tmp_path).same_weights(whole_run)
    # Other settings do not get in, and change nothing.
    for changed, told in (
        ({"learning_rate": 0.01}, "optimizer.lr 0.001, not 0.01"),
        ({"backbone_entities::seam_px": 3}, "backbone_entities.seam_px None, not 3"),
    ):
        with pytest.raises(RuntimeError) as caught:
            workflow(tmp_path, **changed).run()
        message = str(input_error_in(caught.value))
        assert told in message and "\n" not in message and "hidden_dim" not in message


def test_the_window_autoencoder_leaves_entities_metrics_and_figures(entities_run: Any) -> None:
    from hmgdm_monai.saving.entities_file import load_entities

    entities = load_entities(entities_run.folder / "entities.pt")
    assert entities.kind == "window_autoencoder" and (entities.window_px, entities.latent_dim) == (8, 64)
    assert figures_of(entities_run.folder) == {"curves", "windows"}
    assert entities_run.metrics["entities"]["epochs"] == 2
    assert entities_run.metrics["cohort"]["tiles"] == {"training": 20, "validation": 4}
    losses = [record["loss"] for record in entities_run.metrics["entities"]["history"]]
    assert losses[1] < losses[0]


def test_the_window_autoencoder_killed_equals_one_go(
    killed: type, entities_run: Any, workflow: Callable[..., Any], outcome: type, kill_at: Callable, tmp_path: Path
) -> None:
    for step in (1, 7):
        torch.manual_seed(step)
        kill_at(WindowAutoencoderIteration, step)
        with pytest.raises(killed):
            workflow(tmp_path, ENTITIES).run()
    workflow(tmp_path, ENTITIES).run()
    resumed = outcome(tmp_path, "entities.pt")
    assert resumed.metrics["entities"] == entities_run.metrics["entities"]
    assert resumed.same_weights(entities_run)


def test_the_paper_s_run_takes_the_entities_that_were_trained(
    workflow: Callable[..., Any], entities_run: Any, tmp_path: Path
) -> None:
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.saving.entities_file import load_entities

    path = entities_run.folder / "entities.pt"
    given = {"entities_file": str(path), "max_epochs": 1, "network_def::self_attention_depth": 1}
    workflow(tmp_path, PAPER, **given).run()
    model = load_encoder(tmp_path / "model.pt")
    assert model.entities.digest() == load_entities(path).digest()
    assert model.settings["entities"]["kind"] == "window_autoencoder"
    assert model.hmgdm.encoder.latent_dim == 64 and model.hmgdm.encoder.vertex_moments is not None
    assert figures_of(tmp_path) == {"curves", "entity_graph", "denoising"}
    assert not (tmp_path / "stores/views").exists()
    with torch.inference_mode():
        assert model(torch.randint(0, 256, (1, 3, 128, 128))).isfinite().all()


def test_a_mistyped_manifest_does_not_claim_the_folder(workflow: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        workflow(tmp_path / "run", manifest=str(tmp_path / "missing.csv")).run()
    assert "missing.csv" in str(input_error_in(caught.value))
    assert not (tmp_path / "run/settings.json").exists()


@pytest.mark.parametrize("configs", [("train.json",), PAPER, ENTITIES])
def test_monai_finds_every_property(
    workflow: Callable[..., Any], whole_run: Any, entities_run: Any, configs: tuple[str, ...]
) -> None:
    settings = {"entities_file": str(entities_run.folder / "entities.pt")} if configs == PAPER else {}
    assert workflow(whole_run.folder, configs, **settings).check_properties() == []


def test_without_its_entities_the_paper_s_run_says_what_to_train_first(
    workflow: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        workflow(tmp_path / "run", PAPER, entities_file=str(tmp_path / "none.pt")).run()
    message = str(input_error_in(caught.value))
    assert "none.pt" in message and "\n" not in message


def parsed(small_cohort: Path, output_dir: Path, *names: str, **settings: Any) -> Any:
    """Config files with their own settings but for small tiles, as a parser."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(ConfigParser.load_config_files([str(ROOT / "bundle/configs" / name) for name in names]))
    small = {"tile_size_px": 128, "max_tiles_per_slide": 2, "n_segments": 8, "device": "cpu"}
    for name, value in {"manifest": str(small_cohort), "output_dir": str(output_dir), **small, **settings}.items():
        parser[name] = value
    parser.parse()
    return parser


def test_the_paper_s_settings_build_and_step(small_cohort: Path, tmp_path: Path) -> None:
    from hmgdm_monai.saving.entities_file import save_entities

    get = parsed(small_cohort, tmp_path, *ENTITIES).get_parsed_content
    autoencoder, data, generator = get("network"), get("data"), torch.Generator().manual_seed(0)
    assert (autoencoder.window_px, autoencoder.latent_dim, autoencoder.edge_latents) == (32, 256, True)
    batch = Batch.from_data_list([data.tile_graphs("training")[i] for i in range(2)])
    iteration = get("train::iteration")
    iteration.windows_per_tile = 4
    loss, latents = iteration.compute(autoencoder.train(), batch, generator)
    loss.backward()
    assert latents.shape == (8, 256) and torch.isfinite(loss)
    assert all(p.grad is not None for p in autoencoder.parameters())
    save_entities(tmp_path / "entities.pt", autoencoder)

    get = parsed(small_cohort, tmp_path, *PAPER, entities_file=str(tmp_path / "entities.pt")).get_parsed_content
    network = get("network")
    assert network.encoder.hidden_dim == 256 and network.encoder.vertex_moments is not None
    assert network.encoder.edge_latents and network.encoder.latent_dim == 256 and get("data").degraded_views == 0
    assert get("noising").signal_at_end == pytest.approx(0.37, abs=0.01)  # e^-1: what the published schedule leaves
    assert get("lr_scheduler").patience == 10 and get("lr_scheduler").factor == 0.6
    assert get("optimizer").param_groups[0]["lr"] == 1e-4 and get("optimizer").defaults["betas"] == (0.95, 0.999)
    assert get("early_stop").patience == 250 and get("train::dataloader").batch_size == 32
    assert get("train::iteration").max_grad_norm == 10.0 and get("train::iteration").loss.kl_weight == 1.0
    batch.vertex_latents = torch.randn(batch.num_nodes, 256)
    batch.edge_latents = torch.randn(batch.edge_index.shape[1], 256)
    loss, _ = get("train::iteration").compute(network.train(), batch, generator)
    loss.backward()
    get("optimizer").step()
    assert torch.isfinite(loss)


def test_plain_tiles_without_scale(
    workflow: Callable[..., Any], outcome: type, stained: Callable, tmp_path: Path
) -> None:
    """PNG tiles that say nothing of their microns per pixel run like slides."""
    for number in range(4):
        imsave(tmp_path / f"{number}.png", np.roll(stained(128, 128), 9 * number, 1), check_contrast=False)
    manifest = tmp_path / "tiles.csv"
    manifest.write_text("\n".join(["image,patient", *(f"{number}.png,p{number}" for number in range(4))]) + "\n")
    workflow(tmp_path / "run", manifest=str(manifest), max_epochs=1).run()
    found = outcome(tmp_path / "run")
    assert sum(found.metrics["cohort"]["tiles"].values()) == 4
    assert "probe_balanced_accuracy" not in found.metrics["hmgdm"]["history"][0]


def test_bad_input_ends_the_command_with_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", "bundle/configs/train.json"]
        + ["--manifest", str(tmp_path / "missing.csv"), "--output_dir", str(tmp_path / "run")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "missing.csv" in line
    assert done.stderr.rstrip().endswith(line)


def test_configs_are_indented_by_four() -> None:
    for path in (ROOT / "bundle/configs").rglob("*.json"):
        text = path.read_text()
        assert text.rstrip("\n") == json.dumps(json.loads(text), indent=4), path.name
