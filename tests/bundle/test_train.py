"""train.json and paper.json, from a manifest to a model, interrupted and not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hmgdm_monai.engines.iteration import AutoencoderIteration, MaskedDiffusionIteration
from hmgdm_monai.errors import input_error_in

ROOT = Path(__file__).parents[2]


def test_a_run_leaves_model_metrics_and_figures(whole_run: Any) -> None:
    from hmgdm_monai.networks.pretrained import load_pretrained

    model = load_pretrained(whole_run.folder / "model.pt")
    assert model.run_settings["data"]["tile_size_px"] == 128
    assert model.hmgdm.encoder.latent_dim == model.autoencoder.latent_dim
    figures = {path.name for path in (whole_run.folder / "figures").iterdir()}
    assert figures == {f"{n}.png" for n in ("curves", "curves_autoencoder", "entity_graph", "windows", "denoising")}
    metrics = whole_run.metrics
    assert "Synthetic" in metrics["data"]
    assert metrics["cohort"]["patients"] == {"training": 3, "validation": 1}
    assert [stage["epochs"] for stage in (metrics["autoencoder"], metrics["hmgdm"])] == [2, 3]
    assert "probe_balanced_accuracy" not in metrics["hmgdm"]["history"][1]  # an epoch without a probe
    assert 0.0 <= metrics["hmgdm"]["history"][2]["probe_balanced_accuracy"] <= 1.0


def test_edges_carry_windows_and_latents_where_asked_and_nothing_otherwise(
    workflow: Callable[..., Any], whole_run: Any, tmp_path: Path
) -> None:
    from hmgdm_monai.data.latent_store import LatentStore
    from hmgdm_monai.networks.pretrained import load_pretrained

    settings = {"edge_latents": True, "autoencoder_epochs": 1, "max_epochs": 1}
    workflow(tmp_path, **settings).run()
    workflow(tmp_path, **settings, run_id="run").run()  # finished: agrees with its own settings
    for folder, edges in ((tmp_path, True), (whole_run.folder, False)):
        model = load_pretrained(folder / "model.pt")
        assert model.run_settings["autoencoder"]["edge_windows"] == model.edge_windows == edges
        for name in ("latents", "views"):
            store = LatentStore(sorted((folder / "stores" / name).glob("*.h5")))
            assert all(("edge_latents" in store[index]) == edges for index in range(len(store)))
        assert (folder / "figures/windows.png").exists() and (folder / "figures/denoising.png").exists()


def test_mlflow_has_every_epoch_in_one_run_per_stage(whole_run: Any) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{whole_run.folder / 'mlruns.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'hmgdm_pretraining'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["autoencoder", "hmgdm"]
    for name, run in runs.items():
        history = whole_run.metrics[name]["history"]
        for ours, theirs in (("loss", "train_loss"), ("val_loss", "val_loss")):
            logged = client.get_metric_history(run.info.run_id, theirs)
            assert {m.step: m.value for m in logged} == pytest.approx({e["epoch"]: e[ours] for e in history})
    assert not (Path.cwd() / "mlruns").exists()


def test_killed_again_and_again_equals_one_go(
    killed: type, whole_run: Any, workflow: Callable[..., Any], outcome: type, kill_at: Callable, tmp_path: Path
) -> None:
    for kind, step in (
        (AutoencoderIteration, 1),  # before the first checkpoint of stage 1
        (AutoencoderIteration, 5),  # in its second epoch
        (MaskedDiffusionIteration, 2),  # before the first checkpoint of stage 2
        (MaskedDiffusionIteration, 12),  # in its third epoch
    ):
        torch.manual_seed(step)  # another process begins with another state
        kill_at(kind, step)
        with pytest.raises(killed):
            workflow(tmp_path).run()
    workflow(tmp_path).run()
    resumed = outcome(tmp_path)
    assert resumed.metrics["hmgdm"] == whole_run.metrics["hmgdm"]
    assert resumed.metrics["autoencoder"] == whole_run.metrics["autoencoder"]
    assert resumed.same_weights(whole_run)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'hmgdm_pretraining'")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["autoencoder", "hmgdm"]  # gone on with, not begun anew


def test_a_finished_run_trains_nothing_and_goes_on_when_given_more(
    killed: type, workflow: Callable[..., Any], outcome: type, kill_at: Callable, tmp_path: Path, whole_run: Any
) -> None:
    workflow(tmp_path, max_epochs=2).run()
    first = outcome(tmp_path)
    assert not first.same_weights(whole_run)
    kill_at(MaskedDiffusionIteration, 1)
    kill_at(AutoencoderIteration, 1)
    workflow(tmp_path, max_epochs=2).run()  # not killed: there is no training step
    assert outcome(tmp_path).same_weights(first)
    with pytest.raises(killed):
        workflow(tmp_path, max_epochs=3).run()
    workflow(tmp_path, max_epochs=3, run_id="run").run()
    assert outcome(tmp_path).same_weights(whole_run)
    # Other settings do not get in, and change nothing.
    with pytest.raises(RuntimeError) as caught:
        workflow(tmp_path, learning_rate=0.01).run()
    message = str(input_error_in(caught.value))
    assert "hmgdm.learning_rate 0.001, not 0.01" in message and "\n" not in message and "network" not in message


def test_without_epochs_stage_one_is_its_closed_form_also_after_a_break(
    killed: type, workflow: Callable[..., Any], outcome: type, kill_at: Callable, tmp_path: Path
) -> None:
    settings = {"autoencoder_epochs": 0, "autoencoder_settings::widths": [], "max_epochs": 1}
    workflow(tmp_path / "whole", **settings).run()
    found = outcome(tmp_path / "whole")
    assert found.metrics["autoencoder"] == {
        "epochs": 0,
        "stopped_early": False,
        "best": {"epoch": 0, "value": None, "metric": "val_loss"},
        "history": [],
    }
    assert not (tmp_path / "whole/figures/curves_autoencoder.png").exists()
    kill_at(MaskedDiffusionIteration, 1)
    with pytest.raises(killed):
        workflow(tmp_path / "broken", **settings).run()
    workflow(tmp_path / "broken", **settings, run_id="run").run()
    assert outcome(tmp_path / "broken").same_weights(found)
    with pytest.raises(RuntimeError) as caught:
        workflow(tmp_path / "other", autoencoder_epochs=0, **{"autoencoder_settings::shortcut": False}).run()
    assert "without shortcut" in str(input_error_in(caught.value))


def test_a_mistyped_manifest_does_not_claim_the_folder(workflow: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        workflow(tmp_path / "run", manifest=str(tmp_path / "missing.csv")).run()
    assert "missing.csv" in str(input_error_in(caught.value))
    assert not (tmp_path / "run/settings.json").exists()


@pytest.mark.parametrize("configs", [("train.json",), ("train.json", "paper.json")])
def test_monai_finds_every_property(workflow: Callable[..., Any], whole_run: Any, configs: tuple[str, ...]) -> None:
    built = workflow(whole_run.folder, configs)
    assert built.check_properties() == []


def test_the_paper_s_settings_build_and_step(workflow: Callable[..., Any], small_cohort: Path, tmp_path: Path) -> None:
    from monai.bundle import ConfigParser
    from torch_geometric.data import Batch

    parser = ConfigParser(
        ConfigParser.load_config_files([str(ROOT / "bundle/configs" / n) for n in ("train.json", "paper.json")])
    )
    parser["manifest"], parser["output_dir"], parser["device"] = str(small_cohort), str(tmp_path), "cpu"
    parser["tile_size_px"], parser["max_tiles_per_slide"], parser["n_segments"] = 128, 2, 8
    parser.parse()
    get = parser.get_parsed_content
    autoencoder, network = get("autoencoder::network"), get("network")
    assert (autoencoder.patch_px, autoencoder.linear_in, autoencoder.texture_dim) == (1, None, 0)
    assert network.encoder.hidden_dim == 256 and network.encoder.vertex_moments is not None
    assert network.encoder.edge_latents and get("data").edge_windows
    assert get("noising").signal_at_end == pytest.approx(0.37, abs=0.01)  # e^-1: what the published schedule leaves
    assert get("scheduler").patience == 10 and get("scheduler").factor == 0.6
    assert get("optimizer").param_groups[0]["lr"] == 1e-4 and get("optimizer").defaults["betas"] == (0.95, 0.999)
    assert get("early_stop").patience == 250 and get("train::dataloader").batch_size == 32
    assert get("train::iteration").max_grad_norm == 10.0 and get("train::iteration").loss.kl_weight == 1.0

    data, generator = get("data"), torch.Generator().manual_seed(0)
    graphs = [data.window_graphs("training")[i] for i in range(2)]
    batch = Batch.from_data_list(graphs)
    iteration = get("autoencoder::train::iteration")
    iteration.windows_per_tile = 4
    loss, latents = iteration.compute(autoencoder.train(), batch, generator)
    loss.backward()
    assert latents.shape == (8, 256) and torch.isfinite(loss)
    assert all(p.grad is not None for p in autoencoder.parameters())
    batch.vertex_latents = torch.randn(batch.num_nodes, 256)
    batch.edge_latents = torch.randn(batch.edge_index.shape[1], 256)
    loss, _ = get("train::iteration").compute(network.train(), batch, generator)
    loss.backward()
    get("optimizer").step()
    assert torch.isfinite(loss)


def test_plain_tiles_without_scale(
    workflow: Callable[..., Any], outcome: type, small_cohort: Path, tmp_path: Path
) -> None:
    """PNG tiles that say nothing of their microns per pixel run like slides."""
    tiles = sorted((small_cohort.parent / "tiles").glob("*.png"))
    lines = [f"{path},{path.name[:10]}" for path in tiles]
    assert len({line.split(",")[1] for line in lines}) > 1
    manifest = tmp_path / "tiles.csv"
    manifest.write_text("\n".join(["image,patient", *lines]) + "\n")
    workflow(tmp_path / "run", manifest=str(manifest), tile_size_px=256, autoencoder_epochs=1, max_epochs=1).run()
    found = outcome(tmp_path / "run")
    assert sum(found.metrics["cohort"]["tiles"].values()) == len(tiles)
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
    for path in (ROOT / "bundle/configs").glob("*.json"):
        text = path.read_text()
        assert text.rstrip("\n") == json.dumps(json.loads(text), indent=4), path.name
