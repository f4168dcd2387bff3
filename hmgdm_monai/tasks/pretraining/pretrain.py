"""Pretraining with one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.encoder_file import load_encoder
from hmgdm_monai.tasks.bundle_workflow import ConfigFiles, run_bundle


def pretrain(
    manifest: Path | str, output_dir: Path | str, config_file: ConfigFiles = "train.json", **settings: Any
) -> TileEncoder:
    """Train an encoder on the tiles of a cohort, without labels.

    This runs the bundle's ``train.json``. The same call resumes an interrupted run.

    Args:
        manifest: CSV of slides or tiles with the columns ``image`` and ``patient``; see ``docs/own_data.md``.
        output_dir: output folder of the run: ``model.pt``, ``metrics.json``, ``figures/``, checkpoints and stores.
        config_file: one or several configs, e.g. ``["train.json", "paper.json"]`` or ``["train.json", "dirl.json"]``.
        **settings: settings of the config, with the names of the command line, e.g. ``max_epochs=20`` or
            ``**{"network_def#hidden_dim": 128}``; see ``docs/settings.md``.

    Returns:
        The trained encoder, on the CPU, in evaluation mode; ``model.pt`` contains the same encoder.

    Raises:
        InputError: a config or setting does not exist, the manifest or its images cannot be used, or the folder holds a
            run with other settings.

    Example:
        >>> from hmgdm_monai import make_demo_cohort, pretrain
        >>> cohort = make_demo_cohort("cohort", n_patients=4, slide_px=256, mpp=1.0)
        >>> small = {"tile_size_px": 128, "n_segments": 9, "degraded_views": 0, "network_def#hidden_dim": 16}
        >>> encoder = pretrain(cohort.slides, "runs/pretraining", max_epochs=1, device="cpu", **small)
        >>> encoder.state_dim
        16
    """
    return load_encoder(run_bundle(config_file, manifest, output_dir, settings) / "model.pt")
