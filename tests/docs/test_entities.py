"""The page on entities: its Python runs as it stands, and its commands name settings that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from recipes import NOISING, recipe_settings
from torch_geometric.data import Data

from hmgdm_monai.entities.cell_channels import SHAPE_CHANNELS
from hmgdm_monai.entities.given_entities import GivenEntities
from hmgdm_monai.saving.encoder_file import save_encoder
from hmgdm_monai.tasks.configs.unknown import unknown_settings
from hmgdm_monai.transforms.build_cutter import ENTITY_KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/entities.md").read_text()


def test_the_page_embeds_graphs(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = {"recipe": {**recipe_settings(), "transforms": None}, "noising": NOISING}
    save_encoder(
        tmp_path / "runs/graphs/model.pt", tiny.encoder(run=run, entities=GivenEntities(3), edge_latents=False)
    )
    ends = torch.tensor([[0, 1], [1, 2]])
    torch.save([Data(x=torch.rand(3, 3), edge_index=ends, pos=torch.rand(3, 2))] * 2, tmp_path / "a.pt")
    np.savez(tmp_path / "b.npz", x=np.ones((3, 3)), edge_index=ends, pos=np.ones((3, 2)))
    (tmp_path / "graphs.csv").write_text("graphs,patient\na.pt,p0\nb.npz,p1\n")
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.S)[-1], names)
    assert names["embeddings"].shape[0] == 3
    assert names["ids"] == ["a", "a", "b"]


def test_commands_and_names_are_those_of_the_code() -> None:
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.S))
    assert commands.count("monai.bundle run training") == 4  # one for each kind
    config = ConfigParser(ConfigParser.load_config_file(ROOT / "bundle/configs/train.json"))
    for name in re.findall(r"--([\w#]+)", commands):
        if name != "config_file":
            config[name] = 1
    assert unknown_settings(config) == []
    for name in (*ENTITY_KINDS, *SHAPE_CHANNELS):
        assert f"`{name}`" in PAGE, name
