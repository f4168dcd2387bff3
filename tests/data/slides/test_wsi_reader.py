"""TaggedWSIReader within MONAI's own transforms and datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MaskedPatchWSIDataset, MetaTensor, PatchWSIDataset, SlidingPatchWSIDataset
from monai.transforms import LoadImaged

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.slides.wsi_reader import TaggedWSIReader
from hmgdm_monai.errors import InputError

READER = "hmgdm_monai.data.slides.wsi_reader.TaggedWSIReader"


@pytest.fixture(scope="module")
def levels(stained: Callable) -> list[np.ndarray]:
    """Levels of downsample 1 and 2, on white ground, finest first."""
    fine = np.full((320, 512, 3), 255, np.uint8)
    fine[64:256, 128:384] = stained(256, 192)
    return [fine, np.ascontiguousarray(fine[::2, ::2])]


@pytest.fixture(scope="module")
def path(levels: list[np.ndarray], write_tiff: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyramid of raw pixels, mpp 0.5, which cuCIM reads."""
    return write_tiff(tmp_path_factory.mktemp("wsi") / "a.tif", levels)


@pytest.fixture(scope="module")
def aperio(levels: list[np.ndarray], write_tiff: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the description of an Aperio slide of 20x."""
    about = "Aperio Image Library v11.2.1\r\n512x320 (128x128) RGB|AppMag = 20|MPP = 0.5"
    return write_tiff(tmp_path_factory.mktemp("wsi") / "a.svs", levels, description=about)


def test_by_level_mpp_and_power(aperio: Path, levels: list[np.ndarray]) -> None:
    reader = TaggedWSIReader()
    slide = reader.read(aperio)
    for level, choice in ((0, {"level": 0}), (1, {"level": 1}), (1, {"mpp": 1.0}), (1, {"power": 10}), (0, {})):
        pixels, metadata = reader.get_data(slide, location=(60, 120), size=(90, 70), **choice)
        top, left = 60 >> level, 120 >> level
        assert np.array_equal(pixels, levels[level][top : top + 90, left : left + 70].transpose(2, 0, 1)), choice
        assert metadata["level"] == level and metadata["path"] == str(aperio)
        assert metadata["location"].tolist() == [60, 120] and metadata["size"].tolist() == [90, 70]
    assert reader.get_mpp(slide, 1) == (1.0, 1.0) and reader.get_power(slide, 1) == 10.0
    assert reader.get_level_count(slide) == 2 and reader.get_size(slide, 1) == (160, 256)


def test_what_the_constructor_says_is_the_default(aperio: Path, levels: list[np.ndarray]) -> None:
    expected = levels[1].transpose(2, 0, 1)
    for choice in ({"level": 1}, {"mpp": 1.0}, {"power": 10}, {"mpp": (1.0, 1.0)}):
        reader = TaggedWSIReader(**choice)
        assert np.array_equal(reader.get_data(reader.read(aperio))[0], expected), choice


@pytest.mark.parametrize("mpp", [0.25, 0.8, 1.7])
def test_an_mpp_between_levels_is_resampled(mpp: float, path: Path) -> None:
    reader = TaggedWSIReader(mpp=mpp)
    pixels, metadata = reader.get_data(reader.read(path), location=(32, 64), size=(40, 50))
    assert np.array_equal(pixels, open_slide(path).read_region(64, 32, 50, 40, mpp).transpose(2, 0, 1))
    assert metadata["level"] == 2  # one more than the pyramid has
    whole = reader.get_data(reader.read(path))[0]
    assert whole.shape == (3, round(320 * 0.5 / mpp), round(512 * 0.5 / mpp))
    assert np.array_equal(reader.get_wsi_at_mpp(reader.read(path), mpp), whole)


def test_an_mpp_within_the_tolerance_is_a_level_as_it_is(path: Path, levels: list[np.ndarray]) -> None:
    reader = TaggedWSIReader(mpp=1.03)
    assert np.array_equal(reader.get_data(reader.read(path))[0], levels[1].transpose(2, 0, 1))
    assert np.array_equal(reader.get_wsi_at_mpp(reader.read(path), 1.03), levels[1].transpose(2, 0, 1))
    strict = TaggedWSIReader(mpp=1.03, mpp_rtol=0.01)
    assert strict.get_data(strict.read(path))[0].shape == (3, 155, 249)


@pytest.mark.parametrize("reader", [TaggedWSIReader, READER])
def test_load_image_takes_it(reader: Any, path: Path, levels: list[np.ndarray]) -> None:
    load = LoadImaged("image", reader=reader, level=1, dtype=np.uint8)
    image = load({"image": path})["image"]
    assert isinstance(image, MetaTensor) and image.dtype == torch.uint8
    assert np.array_equal(image.numpy(), levels[1].transpose(2, 0, 1))
    assert image.meta["filename_or_obj"] == str(path)


def test_channels_type_alpha_and_several_slides(path: Path, levels: list[np.ndarray]) -> None:
    reader = TaggedWSIReader(channel_dim=-1, dtype=torch.float32, mode="RGBA")
    pixels, metadata = reader.get_data(reader.read(path), location=(64, 128), size=(32, 32))
    assert pixels.shape == (32, 32, 4) and (pixels[..., 3] == 255).all()
    assert np.array_equal(pixels[..., :3], levels[0][64:96, 128:160]) and metadata["original_channel_dim"] == 2
    reader = TaggedWSIReader(level=1)
    pixels, metadata = reader.get_data(reader.read([path, path]), location=(64, 128), size=(32, 32))
    assert pixels.shape == (6, 32, 32) and metadata["path"] == [str(path)] * 2


def test_patches_at_given_places(path: Path, levels: list[np.ndarray]) -> None:
    samples = [{"image": path, "location": [100, 200], "label": 1, "level": 1}]
    for reader in (TaggedWSIReader, TaggedWSIReader()):
        data = PatchWSIDataset(samples, patch_size=(30, 20), reader=reader, center_location=False)
        assert np.array_equal(data[0]["image"].numpy(), levels[1][50:80, 100:120].transpose(2, 0, 1))
        assert data[0]["label"] == 1


def test_patches_in_a_sliding_window_from_workers(path: Path, levels: list[np.ndarray]) -> None:
    data = SlidingPatchWSIDataset([{"image": path}], patch_size=64, patch_level=1, reader=TaggedWSIReader)
    assert len(data) == 8
    assert data.wsi_object_dict  # opened here before the workers start
    loader = DataLoader(data, batch_size=4, num_workers=1, multiprocessing_context="spawn")
    batches = [batch["image"] for batch in loader]
    expected = [levels[1][y : y + 64, x : x + 64] for y in range(0, 128, 64) for x in range(0, 256, 64)]
    assert np.array_equal(torch.cat(batches).numpy(), np.stack(expected).transpose(0, 3, 1, 2))


def test_patches_in_tissue(path: Path, levels: list[np.ndarray]) -> None:
    data = MaskedPatchWSIDataset([{"image": path}], patch_size=8, mask_level=1, reader=TaggedWSIReader)
    assert 0 < len(data) < 160 * 256
    first = data[0]["image"]
    top, left = first.meta["location"].tolist()
    assert np.array_equal(first.numpy(), levels[0][top : top + 8, left : left + 8].transpose(2, 0, 1))
    assert all(60 <= y <= 260 and 124 <= x <= 388 for y, x in (item["location"] for item in data.data[::500]))


def test_a_file_that_monai_s_reader_must_not_open_is_read(
    levels: list[np.ndarray], write_tiff: Callable[..., Path], tmp_path: Path
) -> None:
    """Deflate with a predictor: cuCIM's process dies on it."""
    path = write_tiff(tmp_path / "d.tif", levels, compression="zlib", predictor=True)
    reader = TaggedWSIReader(level=1)
    assert reader.read(path).backend == "tifffile"
    assert np.array_equal(reader.get_data(reader.read(path))[0], levels[1].transpose(2, 0, 1))


def test_a_slide_without_scale(levels: list[np.ndarray], write_tiff: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "n.tif", levels, mpp=None)
    reader = TaggedWSIReader()
    assert reader.get_data(reader.read(path), level=1)[0].shape == (3, 160, 256)
    for choice, told in (
        ({"mpp": 1.0}, "n.tif: microns per pixel unknown; give slide_mpp"),
        ({"power": 10}, "n.tif: obj"),
    ):
        with pytest.raises(InputError, match=told):
            reader.get_data(reader.read(path), **choice)
    told = TaggedWSIReader(mpp=1.0, slide_mpp=0.5)
    assert np.array_equal(told.get_data(told.read(path))[0], levels[1].transpose(2, 0, 1))


def test_what_cannot_be_read_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="by one of level, mpp and power, not by level and mpp; MONAI's patch"):
        PatchWSIDataset([], patch_size=8, reader=TaggedWSIReader, mpp=1.0)  # MONAI's own would read level 0
    reader = TaggedWSIReader()
    with pytest.raises(InputError, match="no such file"):
        reader.read(tmp_path / "none.tif")
    with pytest.raises(InputError, match="the same along both axes, not 0.5 and 1"):
        reader.get_data(reader.read(path), mpp=(0.5, 1.0))
    with pytest.raises(ValueError, match="maximum level of this image is 1"):
        reader.get_data(reader.read(path), level=2)
    with pytest.raises(ValueError, match="Only one of"):
        reader.get_data(reader.read(path), level=0, mpp=0.5)
    with pytest.raises(ValueError, match="outside of the image"):
        reader.get_data(reader.read(path), location=(400, 0), size=(8, 8))
    assert reader.verify_suffix("a.mrxs") and not reader.verify_suffix("a.nii.gz")
