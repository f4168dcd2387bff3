"""Settings that several workflows share."""

from __future__ import annotations

from pydantic import BaseModel

from hmgdm_monai.tasks.configs.settings.types import (
    Count,
    Device,
    Flag,
    NaturalNumber,
    OrNone,
    PathText,
    Seed,
    setting,
)


class Run(BaseModel):
    """Settings of every run."""

    manifest: PathText = setting(
        "CSV of slides or tiles, see [own_data.md](own_data.md). The default, a synthetic demo cohort, is drawn if it "
        "is missing."
    )
    output_dir: PathText = setting("Folder of the run; a run into the same folder resumes it.")
    bundle_root: PathText = setting("Folder of the bundle, with `configs` and `models`.")
    dataset_dir: PathText = setting("Folder of stored graphs, latents or embeddings. *Free*: runs may share one.")
    device: Device = setting("`cpu` or `cuda:0`; by default the first CUDA device if there is one. *Free*.")
    seed: Seed = setting("Seed of all random numbers, and of the division of patients.")


class Strictness(BaseModel):
    """What happens to bad rows of a manifest."""

    strict_manifest: Flag = setting("Refuse a manifest with a bad row; `false` leaves such rows out and names them.")


class TileLimit(BaseModel):
    """Number of tiles."""

    max_tiles_per_slide: OrNone[Count] = setting(
        "Draw this number of tiles, spread over the tissue, from a slide with more; `null` takes all."
    )


class Processes(BaseModel):
    """Processes and threads."""

    num_workers: NaturalNumber = setting(
        "Processes that build graphs and load data; 0 does this in the main process. *Free*."
    )
    num_threads: OrNone[Count] = setting(
        "CPU threads of PyTorch and onnxruntime; `null` keeps PyTorch's default. Raise it for larger networks."
    )


class Precision(BaseModel):
    """Precision of a training."""

    amp: Flag = setting("Mixed precision; by default on with CUDA and off on a CPU.")
