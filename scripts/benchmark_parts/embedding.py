"""Embedded tiles per second, and the time of reading, graph building and networks."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

STEPS = ("reading", "superpixels and graph", "entities", "encoder")


def measure_embedding(
    model: Path, images: Sequence[Path], tiles_per_slide: int = 64, batch_tiles: int = 32, device: str = "cpu"
) -> dict[str, float]:
    """Embed tiles of slides step by step, like :func:`~hmgdm_monai.preparation.tile_stream.stream_slide`.

    Args:
        model: a model.pt of train.json.
        images: slides.
        tiles_per_slide: maximum number of tiles per slide.
        batch_tiles: number of tiles per batch.
        device: device of the networks.

    Returns:
        ``tiles``, ``tiles_per_second``, and the seconds per tile of each of ``STEPS`` by name. These do not include
        finding tissue, once per slide: ``tissue_s``.
    """
    import torch
    from torch_geometric.data import Batch

    from hmgdm_monai.data.slides.slide import open_slide
    from hmgdm_monai.data.tiles.tiling import tile_locations
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.saving.encoder_file import load_encoder

    embedder: Any = load_encoder(model).to(device)
    spec = recipe_of(embedder.run_settings).tile_spec
    spent = dict.fromkeys(STEPS, 0.0)
    tiles, tissue_s = 0, 0.0

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        if device != "cpu":
            torch.cuda.synchronize()
        spent[name] += time.perf_counter() - start
        return result

    for number, path in enumerate((images[0], *images)):  # the first slide runs twice, first to compile
        if number == 1:
            spent, tiles, tissue_s = dict.fromkeys(STEPS, 0.0), 0, 0.0
        with closing(open_slide(path)) as slide, torch.inference_mode():
            start = time.perf_counter()
            locations = tile_locations(slide, spec)[:tiles_per_slide]
            tissue_s += time.perf_counter() - start
            for first in range(0, len(locations), batch_tiles):
                part = locations[first : first + batch_tiles]
                pixels = timed("reading", lambda: slide.read_regions(part, spec.size_px, spec.mpp))  # noqa: B023
                planes = [image.transpose(2, 0, 1) for image in pixels]
                graphs = timed(
                    "superpixels and graph",
                    lambda: Batch.from_data_list([embedder.to_sample(image) for image in planes]),  # noqa: B023
                ).to(device)
                latent = timed("entities", lambda: embedder.prepare(graphs))  # noqa: B023
                timed("encoder", lambda: embedder.embed(latent).cpu())  # noqa: B023
                tiles += len(part)
    total = sum(spent.values())
    return {
        "tiles": tiles,
        "tiles_per_second": tiles / total,
        "tissue_s": tissue_s / len(images),
        **{name: seconds / tiles for name, seconds in spent.items()},
    }


def main() -> None:
    """Print speed and fractions of the time."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/pretraining/model.pt"))
    parser.add_argument("--slides", type=Path, nargs="*", default=sorted(Path("demo_cohort/slides").glob("*.tif"))[:8])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if not arguments.slides:
        parser.error(
            "there are no slides in demo_cohort/slides; give some with --slides, or run scripts/quickstart.sh first"
        )
    r = measure_embedding(arguments.model, arguments.slides, device=arguments.device)
    whole = sum(r[name] for name in STEPS)
    print(f"{r['tiles_per_second']:.1f} tiles per second ({r['tiles']} tiles, {1e3 * whole:.1f} ms each)")
    for name in STEPS:
        print(f"  {name:22} {1e3 * r[name]:6.2f} ms  {r[name] / whole:5.1%}")
    print(f"  finding tissue         {1e3 * r['tissue_s']:6.0f} ms a slide, not in the above")


if __name__ == "__main__":
    main()
