"""Entity autoencoder: encoding time against stock AutoencoderKLs, unexplained variance of windows against PCA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from benchmark_parts.common import one_thread, prostate_tiles, real_data_folder, spread, time_in_turns

if TYPE_CHECKING:
    import torch

    from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder

STOCK_WIDTHS = ((16, 32, 64), (32, 64, 128))


def default_autoencoder() -> EntityAutoencoder:
    """The autoencoder of train.json's defaults."""
    import json

    from benchmark_parts.common import ROOT

    from hmgdm_monai.networks.entity_autoencoder import EntityAutoencoder

    config = json.loads((ROOT / "bundle" / "configs" / "train.json").read_text())
    return EntityAutoencoder(**{**config["autoencoder_settings"], "window_px": config["window_px"]})


def tile_windows(paths: Sequence[Path], window_px: int = 32) -> list[torch.Tensor]:
    """Windows (N, 3, w, w) in [0, 1] of all entities of each tile that have any with the defaults: its vertices."""
    from skimage.io import imread

    from hmgdm_monai.data.entity_graph import entity_windows
    from hmgdm_monai.transforms.entity_graph import BuildEntityGraph
    from hmgdm_monai.transforms.superpixels import Superpixels

    superpixels, build = Superpixels(), BuildEntityGraph(window_px=window_px, edge_tiles=False)
    windows = []
    for path in paths:
        image = np.ascontiguousarray(imread(path)[..., :3].transpose(2, 0, 1))
        graph = build(image, superpixels(image))
        windows.append(entity_windows(graph).float() / 255)
    return windows


def measure_encoding(
    tiles: Sequence[torch.Tensor], stock_widths: Sequence[tuple[int, ...]] = STOCK_WIDTHS, repeats: int = 10
) -> dict[str, dict[str, np.ndarray | int]]:
    """Time the encoding of the windows of each tile in turns, one thread.

    Args:
        tiles: windows (N, 3, 32, 32) in [0, 1] of each tile.
        stock_widths: ``block_out_channels`` of diffusers' AutoencoderKL, on pixels, one layer a block.
        repeats: rounds; the tiles are taken by turns.

    Returns:
        For "ours" and each stock width ``seconds`` a tile and ``ratio`` to ours in the same round, (repeats,) each, and
        ``parameters``.
    """
    import torch
    from diffusers import AutoencoderKL

    ours = default_autoencoder()
    ours.fit(torch.cat(list(tiles)), tiles=torch.repeat_interleave(torch.tensor([len(part) for part in tiles])))
    networks: dict[str, torch.nn.Module] = {"ours": ours.eval()}
    for widths in stock_widths:
        networks["AutoencoderKL " + "-".join(map(str, widths))] = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            block_out_channels=widths,
            norm_num_groups=8,
        ).eval()
    turn = {name: 0 for name in networks}

    def encode(name: str) -> Callable[[], None]:
        def work() -> None:
            windows = tiles[turn[name] % len(tiles)]
            turn[name] += 1
            with torch.inference_mode():
                if name == "ours":
                    ours.encode(windows)
                else:
                    networks[name].encode(2 * windows - 1)

        return work

    with one_thread():
        seconds = time_in_turns({name: encode(name) for name in networks}, repeats)
    return {
        name: {
            "seconds": seconds[name],
            "ratio": seconds[name] / seconds["ours"],
            "parameters": sum(p.numel() for p in network.parameters()),
        }
        for name, network in networks.items()
    }


def measure_unexplained(
    training: torch.Tensor,
    tiles: torch.Tensor,
    held_out: torch.Tensor,
    steps: int = 400,
    batch: int = 256,
    seed: int = 0,
) -> dict[str, float]:
    """Share of the held-out windows' pixel variance that is left unexplained by codes fitted to the training windows.

    Args:
        training: windows (N, 3, w, w) in [0, 1].
        tiles: (N,) integer, which tile each is of.
        held_out: windows of other tiles.
        steps: of training, with the defaults of train.json (Adam 5e-4, loss and its weights).
        batch: windows a step.
        seed: of weights, draws and noise.

    Returns:
        ``autoencoder`` as trained, ``before`` training (its closed-form fit alone), ``pca`` with as many components as
        the latent has, ``pca_form`` with as many as its form code, the part that pixels are decoded from; and
        ``latent_dim``, ``form_dim``.
    """
    import torch
    from sklearn.decomposition import PCA

    from hmgdm_monai.losses.entity_autoencoder import EntityAutoencoderLoss
    from hmgdm_monai.visualize.windows import unexplained_variance

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network, loss = default_autoencoder(), EntityAutoencoderLoss()
    chosen = torch.randperm(len(training), generator=generator)[:8192]
    network.fit(training[chosen], tiles=tiles[chosen], generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), 5e-4, betas=(0.95, 0.999))

    def unexplained() -> float:
        with torch.no_grad():
            network.eval()
            decoded = torch.cat([network.decode(network.encode(part)) for part in held_out.split(1024)])
            network.train()
        return unexplained_variance(held_out, decoded)

    result = {"before": unexplained()}
    for _ in range(steps):
        windows = training[torch.randint(len(training), (batch,), generator=generator)]
        out = network(windows, generator)
        optimizer.zero_grad()
        loss(out.reconstruction, windows, out.texture_hat, out.texture, out.kl).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
    result["autoencoder"] = unexplained()
    flat = held_out.flatten(1).numpy()
    pca = PCA(network.latent_dim, svd_solver="randomized", random_state=seed).fit(training.flatten(1).numpy())
    for name, count in (("pca", network.latent_dim), ("pca_form", network.form_dim)):
        axes = pca.components_[:count]
        back = torch.from_numpy((flat - pca.mean_) @ axes.T @ axes + pca.mean_)
        result[name] = unexplained_variance(held_out, back.reshape(held_out.shape))
    return {**result, "latent_dim": network.latent_dim, "form_dim": network.form_dim}


def main() -> None:
    """Print times and unexplained variance."""
    import torch

    paths = prostate_tiles(real_data_folder(), 240)
    # Tiles of a biopsy stand side by side in the sorted list: every sixth biopsy is held out, not every sixth tile.
    groups = sorted({path.name.rsplit("_", 1)[0] for path in paths})
    away = set(groups[::6])
    parts = [[p for p in paths if (p.name.rsplit("_", 1)[0] in away) == held] for held in (False, True)]
    windows = [tile_windows(part) for part in parts]
    for name, r in measure_encoding(windows[1][:10]).items():
        print(
            f"{name}: {r['parameters'] / 1e6:.2f} M parameters, encodes a tile's windows in "
            f"{spread(1e3 * np.asarray(r['seconds']), 0)} ms"
            + ("" if name == "ours" else f"; ratio to ours {spread(np.asarray(r['ratio']), 1)}")
        )
    print(f"{np.mean([len(w) for w in windows[1][:10]]):.0f} windows a tile on average; one thread")
    tiles = torch.repeat_interleave(torch.tensor([len(part) for part in windows[0]]))
    for seed in (0, 1, 2):
        r = measure_unexplained(torch.cat(windows[0]), tiles, torch.cat(windows[1]), seed=seed)
        print(
            f"seed {seed}: unexplained pixel variance on held-out biopsies {r['autoencoder']:.4f} "
            f"(before training {r['before']:.4f}); PCA of {r['latent_dim']} components {r['pca']:.4f}, "
            f"of {r['form_dim']} {r['pca_form']:.4f}"
        )
