"""Pictures of latents: the nearest superpixel is the nearest one, and the file is the same index."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hmgdm_monai.data.files.checkpoint_file import write_checkpoint
from hmgdm_monai.entities.nearest_superpixels import NearestSuperpixels
from hmgdm_monai.errors import InputError


@pytest.fixture
def index() -> NearestSuperpixels:
    """Of 700 superpixels; channels differ in scale, one does not vary."""
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(700, 5, generator=draw) * torch.tensor([1.0, 50.0, 0.02, 3.0, 0.0]) + 7.0
    return NearestSuperpixels(latents, torch.randint(0, 256, (700, 3, 6, 6), dtype=torch.uint8, generator=draw))


def test_each_latent_finds_its_own_window(index: NearestSuperpixels) -> None:
    assert torch.equal(index.nearest(index.latents), torch.arange(700))
    order = torch.randperm(700)
    windows = index.windows(index.latents[order])
    assert windows.dtype == torch.float32 and windows.min() >= 0 and windows.max() <= 1
    assert torch.equal((255 * windows).round().byte(), index.windows_uint8[order])


def test_near_is_meant_in_units_of_each_channel_s_deviation(index: NearestSuperpixels) -> None:
    varying = index.latents[:, :4]
    queries = varying[:40] + 0.7 * varying.std(0) * torch.randn(40, 4)
    distance = ((queries[:, None] - varying) / varying.std(0, correction=0)).square().sum(-1)
    found = index.nearest(torch.cat((queries, torch.full((40, 1), 7.0)), dim=1))
    assert torch.equal(found, distance.argmin(1))
    assert not torch.equal(found, torch.cdist(queries, varying).argmin(1))  # scales matter


def test_the_file_is_the_same_index(index: NearestSuperpixels, tmp_path: Path) -> None:
    index.save(tmp_path / "superpixels.pt")
    loaded = NearestSuperpixels.load(tmp_path / "superpixels.pt")
    assert torch.equal(loaded.windows_uint8, index.windows_uint8)
    torch.testing.assert_close(loaded.latents, index.latents, rtol=1e-3, atol=1e-3)
    assert torch.equal(loaded.nearest(loaded.latents[:9]), torch.arange(9))


def test_no_latents_find_nothing(index: NearestSuperpixels) -> None:
    assert index.windows(torch.zeros(0, 5)).shape == (0, 3, 6, 6)


@pytest.mark.parametrize(("latents", "windows"), [(0, 0), (3, 2), (0, 2)])
def test_an_index_of_nothing_or_of_unequal_parts_is_refused(latents: int, windows: int) -> None:
    with pytest.raises(InputError, match=f"as many windows as latents, got {windows} and {latents}"):
        NearestSuperpixels(torch.zeros(latents, 5), torch.zeros(windows, 3, 6, 6, dtype=torch.uint8))


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.pt", {"format": 3, "weights": {}})
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name, told in (("model", "no index of superpixels"), ("text", "damaged"), ("none", "no such")):
        with pytest.raises(InputError, match=told) as caught:
            NearestSuperpixels.load(tmp_path / f"{name}.pt")
        assert f"{name}.pt" in str(caught.value) and "\n" not in str(caught.value)
