"""From an image to an embedding on one CPU thread: cost of each step, relative to the backbone alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmark_parts.common import one_thread, prostate_tiles, real_data_folder, spread, time_in_turns

if TYPE_CHECKING:
    from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder

TILES, ROUNDS = 16, 9
BACKBONE, WHOLE = "backbone alone, onnxruntime", "image to embedding"
AIM = 0.5  # target: fraction of the backbone's tiles per second


def configured_encoder(**changes: Any) -> GraphTileEncoder:
    """Return the encoder of train.json with an untrained graph network.

    Args:
        changes: settings of the config, by name or by path, ``**{"network_def::hidden_dim": 8}``.
    """
    import torch
    from reproduce_parts.methods import parsed_config

    from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder

    config = parsed_config(("train.json",), changes)
    entities, run_settings = config.get_parsed_content("entities"), config.get_parsed_content("run_folder").settings
    torch.manual_seed(0)
    network = config.get_parsed_content("network_def")
    return GraphTileEncoder(entities, network, {"hmgdm": network.settings}, run_settings).eval()


def measure_entities(
    encoder: GraphTileEncoder, windows: GraphTileEncoder, images: Any, rounds: int = ROUNDS
) -> dict[str, np.ndarray]:
    """Return the CPU milliseconds per tile of each step, measured alternately on one thread.

    Args:
        encoder: encoder whose backbones see the tile.
        windows: the same encoder, but its backbones see a window around each entity.
        images: (N, 3, S, S) uint8, of the tile size of both encoders.
        rounds: number of rounds.

    Returns:
        (rounds,) milliseconds by step.
    """
    import torch
    from torch_geometric.data import Batch

    from hmgdm_monai.entities.pooling import pool_over_superpixels

    entities: Any = encoder.entities
    backbones = list(entities.backbones)
    graphs = Batch.from_data_list([encoder.to_sample(image) for image in images.numpy()])
    resized = [_resized(backbone, images) for backbone in backbones]
    maps = [one for backbone in backbones for one in backbone(images)]
    latents = encoder.prepare(graphs)

    def pooling(seam_px: int | None) -> Callable[[], object]:
        args = (maps, graphs.label_map, graphs.vertex_batch, graphs.pos, graphs.edge_index)
        return lambda: pool_over_superpixels(*args, seam_px)

    work: dict[str, Callable[[], object]] = {
        "superpixels and graph": lambda: [encoder.to_sample(image) for image in images.numpy()],
        BACKBONE: lambda: [backbone(images) for backbone in backbones],
        "backbone alone, PyTorch": lambda: [b.maps(some) for b, some in zip(backbones, resized, strict=True)],
        "pooling of vertices": pooling(None),
        "pooling of vertices and edges": pooling(entities.seam_px),
        "graph network": lambda: encoder.embed(latents),
        WHOLE: lambda: encoder(images),
        "entities, backbone on the tile": lambda: encoder.prepare(graphs),
        "entities, backbone on windows": lambda: windows.prepare(graphs),
    }
    with one_thread(), torch.inference_mode():
        seconds = time_in_turns(work, rounds, time.process_time)
    return {name: 1e3 * values / len(images) for name, values in seconds.items()}


def report(milliseconds: Mapping[str, np.ndarray]) -> list[str]:
    """Rows of a markdown table, and the ratios that matter."""
    lines = ["| step | CPU ms a tile |", "|---|---|"]
    lines += [f"| {name} | {spread(values)} |" for name, values in milliseconds.items()]
    ms = milliseconds
    ratios = {
        f"tiles a second, {WHOLE} / {BACKBONE} (aim: at least {AIM})": ms[BACKBONE] / ms[WHOLE],
        "pooling of vertices and edges / of vertices": ms["pooling of vertices and edges"] / ms["pooling of vertices"],
        "PyTorch / onnxruntime": ms["backbone alone, PyTorch"] / ms[BACKBONE],
        "backbone on windows / on the tile": ms["entities, backbone on windows"] / ms["entities, backbone on the tile"],
    }
    lines.append("")
    lines += [f"{name}: {1e3 / np.median(ms[name]):.1f} tiles a CPU second" for name in (BACKBONE, WHOLE)]
    return [*lines, *(f"{name}: {spread(values)}" for name, values in ratios.items())]


def tiles_in_memory(count: int) -> np.ndarray:
    """Real tiles (N, 3, 256, 256) uint8; crops of an image that scikit-image carries where the real ones are absent."""
    from skimage.data import immunohistochemistry
    from skimage.io import imread

    if (real_data_folder() / "prostate_gleason").exists():
        tiles: Sequence[np.ndarray] = [imread(path)[..., :3] for path in prostate_tiles(real_data_folder(), count)]
    else:
        image = immunohistochemistry()
        tiles = [image[i : i + 256, j : j + 256] for i in (0, 128, 256) for j in (0, 128, 256)]
    return np.stack([tile.transpose(2, 0, 1) for tile in tiles[:count]])


def main() -> None:
    """Print times and ratios with their spread over rounds."""
    import torch
    from reproduce_parts.methods import window_view

    images = torch.from_numpy(tiles_in_memory(TILES))
    with one_thread():  # onnxruntime sessions use the number of threads at their creation
        measured = measure_entities(configured_encoder(), configured_encoder(**window_view()), images)
    print("\n".join(report(measured)))
    print(f"{len(images)} tiles of {images.shape[-1]} px in memory, {ROUNDS} alternating rounds, one thread; CPU time")


def _resized(backbone: Any, images: Any) -> Any:
    """Images as :meth:`Backbone.maps` takes them."""
    import torch.nn.functional as F

    if backbone.resize_px is None:
        return images.float()
    size = (backbone.resize_px, backbone.resize_px)
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False)
