"""Draw the figure of the README from a run: python scripts/make_readme_figure.py --run runs/pretraining."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmgdm_monai.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_IN = 2.35
GRAY = 150


def draw(run: Path, tile: int = 0, seed: int = 0) -> Figure:
    """Draw tile, entity graph, visible part, the restored rest, and the rest painted from the true latents.

    Args:
        run: output folder of a finished pretraining run.
        tile: index of the validation tile; validation tiles are not used in training.
        seed: seed of the split and of the noise.
    """
    import numpy as np
    import torch
    from benchmark_parts.common import pretraining_data
    from matplotlib.figure import Figure
    from torch_geometric.data import Batch

    from hmgdm_monai.data.demo.cohort import MARKER
    from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
    from hmgdm_monai.networks.methods.sampling import sample_hidden
    from hmgdm_monai.preparation.recipe import noising_of
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.visualize.denoising import hidden_pixels
    from hmgdm_monai.visualize.entity_graph import draw_entity_graph
    from hmgdm_monai.visualize.paint import paint_superpixels

    model: Any = load_encoder(run / "model.pt")
    superpixels = NearestSuperpixels.load(run / "superpixels.pt")
    data = pretraining_data(model.run_settings, run / "stores")
    indices = data.tile_indices("validation")
    if not 0 <= tile < len(indices):
        raise InputError(f"--tile {tile}: the run has validation tiles 0 to {len(indices) - 1}")
    graph = data.cohort.store()[indices[tile]]
    image = graph.image[0].permute(1, 2, 0).numpy()
    with torch.no_grad():
        batch = Batch.from_data_list([model.prepare(graph)])
        generator = torch.Generator().manual_seed(seed)
        vertex_visible, edge_visible = model.hmgdm.split(batch, generator)
        noising = noising_of(model.run_settings)
        sample = sample_hidden(model.hmgdm, batch, vertex_visible, edge_visible, noising, generator=generator)
    hidden = hidden_pixels(graph.label_map, vertex_visible)[0]

    def within_hidden(painted: np.ndarray) -> np.ndarray:
        return np.where(hidden[..., None], painted, image)

    def painted(latents: torch.Tensor) -> np.ndarray:
        return within_hidden(paint_superpixels(graph.label_map, superpixels.windows(latents), graph.pos))

    n_vertices, n_edges = graph.num_vertices, graph.edge_index.shape[1]
    edges_hidden = f" and\n{int((~edge_visible).sum())} edges hidden" if model.entities.edge_latents else "\nhidden"
    panels = [
        (image, "tile"),
        (
            draw_entity_graph(graph, scale=2),
            f"entity graph:\n{n_vertices} superpixels, {n_edges} edges",
        ),
        (within_hidden(np.full_like(image, GRAY)), f"{int((~vertex_visible).sum())} superpixels{edges_hidden}"),
        (painted(sample.final.vertex_latents), "restored from noise,\nnearest superpixels"),
        (painted(batch.vertex_latents), "true latents,\nnearest superpixels"),
    ]
    figure = Figure(figsize=(PANEL_IN * len(panels), PANEL_IN + 1.05), layout="constrained")
    for axes, (pixels, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.imshow(pixels)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
    drawn = (data.manifest.parent / MARKER).exists()
    figure.supxlabel(
        ("Synthetic demo cohort: drawn by a program, not tissue. " if drawn else "")
        + "A validation tile of a patient that was not used in training.\nEach hidden superpixel shows the real "
        "superpixel of a training tile with the nearest latents.",
        fontsize=9,
        color="0.35",
    )
    return figure


def main() -> int:
    """Read the command line and draw the figure; return 2 on bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/pretraining"), help="output folder of a run")
    parser.add_argument("--tile", type=int, default=20, help="index of the validation tile (default: 20)")
    parser.add_argument("--output", type=Path, default=Path("docs/images/overview.png"))
    given = parser.parse_args()
    try:
        import io

        from PIL import Image

        from hmgdm_monai.data.files.whole_file import write_whole

        whole, small = io.BytesIO(), io.BytesIO()
        draw(given.run, given.tile).savefig(whole, format="png", dpi=110)
        # 256 colors are enough for tissue and text, and the file is a third of the size.
        Image.open(whole).convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(small, format="PNG")
        write_whole(given.output, small.getvalue())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {given.output}, {len(small.getvalue()) // 1000} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
