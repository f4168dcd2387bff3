"""The Python that the documents show runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recipes import recipe_settings
from skimage.io import imsave

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.stores.latent_store import latent_settings, write_latent_unit
from hmgdm_monai.data.stores.ragged_unit import StoredTile
from hmgdm_monai.saving.encoder_file import save_encoder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small model where the documents look for it."""
    folder = tmp_path / "runs" / "mine"
    save_encoder(folder / "model.pt", tiny.encoder(run={**tiny.run, "recipe": recipe_settings(None)}))
    monkeypatch.chdir(tmp_path)
    return folder


def snippet(page: str) -> str:
    """The last block of Python of a page."""
    block = re.findall(r"^( *)```python\n(.*?)^ *```", (ROOT / page).read_text(), re.M | re.S)[-1]
    return re.sub(rf"^{block[0]}", "", block[1], flags=re.M)


def test_the_readme_embeds_a_tile(run: Path) -> None:
    imsave("tile.png", np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8), check_contrast=False)
    names: dict = {}
    exec(snippet("README.md"), names)
    assert names["embedding"].shape == (80,)  # mean and deviation of states and latents
    assert np.isfinite(names["embedding"]).all()


def test_the_tutorial_embeds_a_cohort(run: Path) -> None:
    def tile(number: int) -> StoredTile:
        graph = EntityGraph(
            pos=torch.rand(3, 2),
            edge_index=torch.tensor([[0, 1], [1, 2]]),
            vertex_latents=torch.rand(3, 24),
            edge_latents=torch.rand(2, 24),
        )
        return StoredTile(graph, f"slides/{number}", (256 * number, 0), 1.0)

    for unit in ("a", "b"):
        write_latent_unit(run / "stores" / "latents", unit, [tile(0), tile(1)], latent_settings({}, "digest"))
    names: dict = {}
    exec(snippet("docs/own_data.md"), names)
    assert names["embeddings"].shape == (4, 80)
    assert [info.location_px[0] for info in names["where"]] == [0, 256, 0, 256]
