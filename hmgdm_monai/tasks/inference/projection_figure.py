"""The figure of an inference run that shows the embeddings of tiles in two dimensions."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.files.tile_embeddings_file import read_tile_embeddings
from hmgdm_monai.data.manifest.columns import read_columns
from hmgdm_monai.tasks.inference.embed import CohortEmbedding

logger = logging.getLogger(__name__)


def write_projection(
    embedding: CohortEmbedding,
    path: Path,
    method: str = "tsne",
    column: str | None = None,
    most_tiles: int = 3000,
    seed: int = 0,
    note: str | None = None,
) -> None:
    """Draw the embeddings of tiles in two dimensions, colored by a column of the manifest.

    Args:
        embedding: the embedded cohort.
        path: file of the figure.
        method: "tsne" or "umap".
        column: column of the manifest; None takes the labels, or the patients if there are none.
        most_tiles: maximum number of tiles, drawn evenly from the slides. With fewer than four there is no figure.
        seed: seed of the draw and of the projection.
        note: note for the figure; None for none.
    """
    from hmgdm_monai.visualize.projection import draw_projection, project
    from hmgdm_monai.visualize.save import save_figure

    result, rng = embedding.result, np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    ids: list[str] = []
    share = -(-most_tiles // max(1, len(result.slides) + (result.tiles is not None)))
    for row_id, file in result.slides.items():
        features = read_features(file).features
        chosen = np.sort(rng.permutation(len(features))[:share])
        parts.append(features[chosen])
        ids += [row_id] * len(chosen)
    if result.tiles is not None:
        features, all_ids = read_tile_embeddings(result.tiles)
        chosen = np.sort(rng.permutation(len(features))[:share])
        parts.append(features[chosen])
        ids += [all_ids[place] for place in chosen]
    if len(ids) < 4:
        logger.info("no projection: it needs at least four tiles, and there are %d", len(ids))
        return
    labeled = any(result.rows[row_id].label is not None for row_id in ids)
    shown = column or ("label" if labeled else "patient")
    cells = read_columns(embedding.manifest.path, [shown])
    texts = [cells[result.rows[row_id].line][shown] for row_id in ids]
    points = project(np.concatenate(parts), method, seed)
    save_figure(draw_projection(points, shown, texts, method, "Embeddings of tiles", note), path)
