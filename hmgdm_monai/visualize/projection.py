"""Draw embeddings in two dimensions, colored by a column of the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("tsne", "umap")
_COMPONENTS = 50  # number of principal components before the projection, which reduces noise and run time
_MOST_CLASSES = 20  # maximum number of legend entries


def check_method(method: str) -> None:
    """Raise an InputError if the method of projection is unknown."""
    if method not in METHODS:
        raise InputError(f"projection must be one of {', '.join(METHODS)}, not {method!r}")


def project(features: np.ndarray, method: str = "tsne", seed: int = 0) -> np.ndarray:
    """Project embeddings (N, S) to points (N, 2) by t-SNE or UMAP, reproducible for a fixed seed.

    Channels are standardized, then reduced to 50 principal components. Neighborhoods in the result are meaningful;
    distances between distant groups and the axes are not.

    Args:
        features: (N, S) embeddings.
        method: "tsne" or "umap".
        seed: seed of the projection.

    Returns:
        (N, 2).

    Raises:
        InputError: the method is unknown, or there are fewer than four embeddings.
    """
    check_method(method)
    if len(features) < 4:
        raise InputError(f"a projection needs four embeddings or more, not {len(features)}")
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(np.asarray(features, np.float64))
    components = min(_COMPONENTS, *scaled.shape)
    reduced = PCA(components, svd_solver="full" if len(scaled) < 5000 else "randomized", random_state=seed)
    points = reduced.fit_transform(scaled)
    if method == "tsne":
        from sklearn.manifold import TSNE

        return TSNE(perplexity=min(30.0, (len(points) - 1) / 3), init="pca", random_state=seed).fit_transform(points)
    import umap

    neighbors = min(15, len(points) - 1)
    # Spectral initialization fails if there are hardly more points than dimensions.
    start = "spectral" if len(points) > 10 else "random"
    return umap.UMAP(n_neighbors=neighbors, init=start, random_state=seed, n_jobs=1).fit_transform(points)


def draw_projection(
    points: np.ndarray, column: str, cells: Sequence[str], method: str, title: str, note: str | None = None
) -> Figure:
    """Draw points (N, 2), colored by a column.

    More than ten different numbers get a color bar; other values get a legend with up to 20 names, of which the rarest
    are combined as "other". Empty cells are gray.

    Args:
        points: output of :func:`project`.
        column: name of the column.
        cells: N texts; "" for a missing value.
        method: method that computed the points, "tsne" or "umap".
        title: title of the figure.
        note: small text below the figure; None for none.

    Returns:
        A matplotlib figure, not attached to a window.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    texts = np.asarray(cells, dtype=object)
    known = texts != ""
    names, counts = np.unique(texts[known].astype(str), return_counts=True)
    numbers = _numbers(texts, known) if len(names) > 10 else None
    figure = Figure(figsize=(8.0, 5.6), layout="constrained")
    axes = figure.subplots()
    size = float(np.clip(4000 / max(len(points), 1), 4, 28))
    axes.scatter(
        points[~known, 0], points[~known, 1], s=size, color="0.8", label="none given" if (~known).any() else None
    )
    if numbers is not None:
        x, y = points[known].T
        shown = axes.scatter(x, y, s=size, c=numbers, cmap="viridis")
        figure.colorbar(shown, ax=axes).set_label(column, fontsize=10)
    else:
        frequent = set(names[np.argsort(-counts, kind="stable")[: _MOST_CLASSES - (len(names) > _MOST_CLASSES)]])
        groups = [name for name in names if name in frequent] + (["other"] if len(frequent) < len(names) else [])
        palette = colormaps["tab10" if len(groups) <= 10 else "tab20"]
        for number, name in enumerate(groups):
            chosen = known & (texts == name if name in frequent else [text not in frequent for text in texts])
            x, y = points[chosen].T
            axes.scatter(x, y, s=size, color=palette(number), label=f"{name} ({int(chosen.sum())})")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title=column, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    name = {"tsne": "t-SNE", "umap": "UMAP"}[method]
    axes.set(xticks=[], yticks=[], xlabel=f"{name} 1", ylabel=f"{name} 2")
    axes.set_title(title, fontsize=12)
    add_note(
        figure, f"{len(points)} tiles. Near points have similar embeddings; axes and far distances have no unit.", note
    )
    return figure


def _numbers(texts: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    try:
        return np.array([float(text) for text in texts[known]])
    except ValueError:
        return None
