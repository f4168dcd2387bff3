"""Embeddings of a cohort with one function call."""

from __future__ import annotations

from pathlib import Path

import torch

from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.tasks.inference.embed import embed_slides
from hmgdm_monai.tasks.inference.embed_tile import encoder_of
from hmgdm_monai.tasks.inference.embedded import Embedded


def embed_cohort(
    manifest: Path | str,
    output_dir: Path | str,
    encoder: TileEncoder | Path | str | None = None,
    max_tiles_per_slide: int | None = None,
    batch_tiles: int = 32,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Embedded:
    """Embed all slides and tiles of a manifest, one slide after the other in limited memory.

    Slides that are already embedded are kept, so the same call resumes an interrupted run. Images that cannot be used
    are skipped and named in the result.

    Args:
        manifest: CSV of slides or tiles with the columns ``image`` and ``patient``.
        output_dir: folder of the files: ``<slide>.h5``, which
            :func:`~hmgdm_monai.data.files.features_file.read_features` reads, and ``embeddings.h5`` of all plain tiles,
            which :func:`~hmgdm_monai.data.files.tile_embeddings_file.read_tile_embeddings` reads.
        encoder: a loaded encoder, which is moved to ``device``, or the path of a ``model.pt``; None uses the encoder of
            the bundle.
        max_tiles_per_slide: draws this many tiles of a slide that has more; None takes all.
        batch_tiles: number of tiles per batch.
        num_workers: number of processes that read tiles in advance.
        device: device of the network; None uses the first GPU, or the CPU if there is none.
        seed: seed of the draw of tiles.
        progress: show a progress bar on stderr.

    Returns:
        The files by row id of the manifest, and what was skipped and why.

    Raises:
        InputError: the manifest or all of its images cannot be used, a setting is out of range, or the disk is full.

    Example:
        >>> from hmgdm_monai import embed_cohort, make_demo_cohort, read_features
        >>> cohort = make_demo_cohort("cohort", n_patients=1, slide_px=256, mpp=1.0)
        >>> embedded = embed_cohort(cohort.slides, "features", device="cpu", progress=False)
        >>> for slide, path in embedded.slides.items():
        ...     print(slide, len(read_features(path).features), "tile")
        slides/patient_00 1 tile
    """
    if device is None:
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    return embed_slides(
        encoder_of(encoder), manifest, output_dir, batch_tiles, max_tiles_per_slide, seed, device, num_workers, progress
    )
