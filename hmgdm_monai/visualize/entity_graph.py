"""Draw an entity graph over its tile: borders of the superpixels, vertices as dots, edges as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageDraw

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError
from hmgdm_monai.visualize.note import add_note

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Color = tuple[int, int, int]
_SMOOTHING = 2  # the drawing is enlarged by this factor and scaled down, which smooths lines


def draw_entity_graph(
    graph: EntityGraph,
    image: np.ndarray | torch.Tensor | None = None,
    label_map: np.ndarray | torch.Tensor | None = None,
    scale: int = 3,
    border_color: Color = (255, 235, 60),
    edge_color: Color = (20, 20, 20),
    vertex_color: Color = (0, 200, 255),
) -> np.ndarray:
    """Draw a graph over its tile.

    Args:
        graph: graph of the tile, with ``pos`` (V, 2) and ``edge_index`` (2, E).
        image: (3, H, W) uint8; None uses the graph's own.
        label_map: (1, H, W) or (H, W) integer superpixels; None uses the graph's own, or draws no borders if it has
            none.
        scale: number of drawing pixels per tile pixel, in each direction.
        border_color: RGB color of the borders between superpixels.
        edge_color: RGB color of the lines.
        vertex_color: RGB color of the dots.

    Returns:
        (scale H, scale W, 3) uint8.

    Raises:
        InputError: there is no image, it is not (3, H, W) uint8, or the label map has another size.

    Example:
        >>> import numpy as np
        >>> from hmgdm_monai import draw_entity_graph, tile_to_graph
        >>> tile = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        >>> draw_entity_graph(tile_to_graph(tile, n_segments=9), scale=4).shape
        (256, 256, 3)
    """
    if image is None:
        image = graph.get("image")
        if image is None:
            raise InputError("the graph keeps no image; give the tile that it was built from")
        image = image[0]
    pixels = _to_numpy(image)
    if pixels.ndim != 3 or pixels.shape[0] != 3 or pixels.dtype != np.uint8:
        raise InputError(f"A tile must be uint8 of shape (3, H, W), not {pixels.dtype} {pixels.shape}.")
    height, width = pixels.shape[1:]
    factor = scale * _SMOOTHING
    tile = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    canvas = np.array(tile.resize((width * factor, height * factor), Image.Resampling.BICUBIC))

    label_map = graph.get("label_map") if label_map is None else label_map
    if label_map is not None:
        labels = _to_numpy(label_map).reshape(np.shape(label_map)[-2:])
        if labels.shape != (height, width):
            raise InputError(f"The tile is {height} x {width} px, its label map {labels.shape[0]} x {labels.shape[1]}.")
        canvas[_border_lines(labels, factor, thickness=_SMOOTHING)] = border_color

    drawing = Image.fromarray(canvas)
    draw = ImageDraw.Draw(drawing)
    points = graph.pos.detach().cpu().numpy() * (width * factor, height * factor)
    for i, j in graph.edge_index.T.tolist():
        draw.line([tuple(points[i]), tuple(points[j])], fill=edge_color, width=2 * _SMOOTHING)
    radius = 4.5 * _SMOOTHING
    for x, y in points:
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=vertex_color, outline=edge_color, width=_SMOOTHING)
    return np.array(drawing.resize((width * scale, height * scale), Image.Resampling.LANCZOS))


def _to_numpy(array: np.ndarray | torch.Tensor) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)


def _border_lines(labels: np.ndarray, factor: int, thickness: int) -> np.ndarray:
    """(factor H, factor W) bool, borders between pixels of different label, ``thickness`` px wide on both sides."""
    large = np.repeat(np.repeat(labels, factor, axis=0), factor, axis=1)
    lines = np.zeros(large.shape, bool)
    for shift in range(1, thickness + 1):
        across = large[:, shift:] != large[:, :-shift]
        lines[:, shift:] |= across
        lines[:, :-shift] |= across
        down = large[shift:] != large[:-shift]
        lines[shift:] |= down
        lines[:-shift] |= down
    return lines


def entity_graph_figure(
    image: np.ndarray | torch.Tensor,
    graph: EntityGraph,
    label_map: np.ndarray | torch.Tensor | None = None,
    note: str | None = None,
    entities: str = "superpixels",
) -> Figure:
    """Draw the figure of :func:`draw_entity_graph` with the size of the graph as its title.

    Args:
        image: (3, H, W) uint8, the tile.
        graph: graph of the tile.
        label_map: (1, H, W) or (H, W) integer superpixels; None uses the graph's own.
        note: small text below the figure; None for none.
        entities: kind of the vertices, in the plural, for the title.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6.6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(draw_entity_graph(graph, image, label_map))
    axes.set_axis_off()
    axes.set_title(f"Entity graph: {graph.num_vertices} vertices ({entities}), {graph.edge_index.shape[1]} edges")
    add_note(figure, note)
    return figure
