"""Paired views: image and region map stay together, draws are reproducible, color touches the image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.paired_views import PairedViews, PairedViewsd

PLAIN = {"stain_scale": 0, "stain_shift": 0, "brightness": 0, "contrast": 0, "blur_probability": 0}


def tiles(count: int = 3, side: int = 48, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    return images, torch.randint(0, 3, (count, 1, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("size_px", [48, 100, 200, 300])
@pytest.mark.parametrize("axis", [0, 1])
def test_image_and_regions_are_aligned_to_half_a_pixel(size_px: int, axis: int) -> None:
    side = 200
    ramp = torch.arange(side, dtype=torch.uint8)
    ramp = (ramp[:, None] if axis == 0 else ramp[None]).expand(1, side, side).contiguous()
    views = PairedViews(size_px, **PLAIN)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        for view in views(ramp.expand(3, -1, -1), ramp, generator):
            # Where the kernel of the antialiased resize is cut off by the border of the crop, a ramp bends.
            margin = size_px // 20 + 3
            inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
            error = (view.image[:1] * 255)[inner] - view.regions[inner].float()
            assert error.abs().max() <= 0.5 + 1e-3
            assert abs(error.mean()) < 0.2  # and shifted to neither side


def test_whole_tile_at_its_own_size_comes_back_in_all_eight_orientations() -> None:
    image, regions = (t[0] for t in tiles(1, 16))
    views = PairedViews(16, scale=(1, 1), **PLAIN)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(100):
        for view in views(image, regions, generator):
            found = [
                (turns, mirror)
                for turns in range(4)
                for mirror in (False, True)
                if torch.equal(_turned(regions, turns, mirror), view.regions)
            ]
            assert len(found) == 1
            torch.testing.assert_close(_turned(image, *found[0]).float() / 255, view.image)
            seen.add(found[0])
    assert len(seen) == 8


def _turned(planes: torch.Tensor, turns: int, mirror: bool) -> torch.Tensor:
    planes = torch.rot90(planes, turns, (1, 2))
    return planes.flip(2) if mirror else planes


def test_orientation_stays_when_it_is_told_to() -> None:
    image, regions = (t[0] for t in tiles(1, 16))
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        for view in PairedViews(16, scale=(1, 1), flips=False, rotations=False, **PLAIN)(image, regions, generator):
            assert torch.equal(view.regions, regions)


def test_batch_is_the_tiles_one_after_the_other() -> None:
    images, regions = tiles()
    views = PairedViews(24, blur_probability=0.5)
    generator = torch.Generator().manual_seed(5)
    singles = [views(image, region, generator) for image, region in zip(images, regions, strict=True)]
    after = generator.get_state()
    generator.manual_seed(5)
    for v, view in enumerate(views.batch(images, regions, generator)):
        assert view.image.shape == (3, 3, 24, 24) and view.regions.shape == (3, 1, 24, 24)
        torch.testing.assert_close(view.image, torch.stack([pair[v].image for pair in singles]), rtol=0, atol=1e-5)
        assert torch.equal(view.regions, torch.stack([pair[v].regions for pair in singles]))
    assert torch.equal(after, generator.get_state())


def test_the_generator_alone_decides() -> None:
    images, regions = tiles()
    views = PairedViews(24)
    first = views.batch(images, regions, torch.Generator().manual_seed(3))
    torch.manual_seed(123)
    torch.rand(7)
    again = views.batch(images, regions, torch.Generator().manual_seed(3))
    other = views.batch(images, regions, torch.Generator().manual_seed(4))
    for view, same, different in zip(first, again, other, strict=True):
        assert torch.equal(view.image, same.image) and torch.equal(view.regions, same.regions)
        assert not torch.equal(view.image, different.image)
    assert not torch.equal(first[0].image, first[1].image)


def test_color_leaves_place_and_regions_as_they_are() -> None:
    images, regions = tiles()
    colored = PairedViews(24, blur_probability=1.0).batch(images, regions, torch.Generator().manual_seed(3))
    plain = PairedViews(24, **PLAIN).batch(images, regions, torch.Generator().manual_seed(3))
    for one, other in zip(colored, plain, strict=True):
        assert torch.equal(one.regions, other.regions)
        assert not torch.allclose(one.image, other.image, atol=0.02)
        assert one.image.dtype == torch.float32 and 0 <= one.image.min() and one.image.max() <= 1


def test_crops_cover_the_share_of_area_and_the_ratio_that_were_asked_for() -> None:
    views = PairedViews(8, scale=(0.3, 0.9), ratio=(0.5, 2.0), **PLAIN)
    draws = torch.rand(2000, 6, generator=torch.Generator().manual_seed(0)).tolist()
    top, left, height, width = np.array([views._place(row, 200)[:4] for row in draws]).T
    area, ratio = height * width / 200**2, width / height
    assert 0.295 < area.min() < 0.31 and 0.89 < area.max() < 0.905 and abs(area.mean() - 0.6) < 0.02
    assert 0.49 < ratio.min() < 0.52 and 1.9 < ratio.max() < 2.04 and abs(np.log(ratio).mean()) < 0.03
    assert (top + height <= 200).all() and (left + width <= 200).all() and top.min() == left.min() == 0
    assert (top + height == 200).any() and (left + width == 200).any()


def test_regions_take_no_value_that_the_map_lacks() -> None:
    image, _ = (t[0] for t in tiles(1, 40))
    regions = torch.full((1, 40, 40), 255, dtype=torch.uint8)
    regions[:, 10:30, 10:30] = 7
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        for view in PairedViews(33, **PLAIN)(image, regions, generator):
            assert set(view.regions.unique().tolist()) <= {7, 255}


def test_dictionary_version_is_seeded_as_monai_seeds() -> None:
    images, regions = tiles(2)
    data = [{"image": i, "regions": r.numpy(), "name": "a"} for i, r in zip(images, regions, strict=True)]
    views = PairedViewsd(size_px=24).set_random_state(seed=0)
    first = [views(d) for d in data]
    views.set_random_state(seed=0)
    again = [views(d) for d in data]
    for d, e in zip(first, again, strict=True):
        assert set(d) == {"image", "regions", "name", "image_1", "image_2", "regions_1", "regions_2"}
        assert d["image_1"].shape == (3, 24, 24) and d["regions_2"].shape == (1, 24, 24)
        assert torch.equal(d["image_2"], e["image_2"]) and torch.equal(d["regions_1"], e["regions_1"])
    assert not torch.equal(first[0]["regions_1"], first[1]["regions_1"])
    assert "image_1" not in data[0]


def test_dictionary_version_and_missing_keys() -> None:
    image, _ = (t[0] for t in tiles(1))
    assert set(PairedViewsd(allow_missing_keys=True)({"image": image})) == {"image"}
    with pytest.raises(KeyError):
        PairedViewsd()({"image": image})
    with pytest.raises(ValueError, match="keys of a tile and its regions"):
        PairedViewsd(keys=("image",))


def test_bad_input_is_one_line() -> None:
    image, regions = (t[0] for t in tiles(1))
    views, generator = PairedViews(24), torch.Generator()
    for bad in (image.float(), image[:1], image[:, :40], image[:, :0, :0]):
        with pytest.raises(InputError, match="^A tile must be square, uint8"):
            views(bad, regions, generator)
    for bad in (regions[:, :40], regions[0], regions.int()):
        with pytest.raises(InputError, match="^The region map of a tile of 48 px must be uint8"):
            views(image, bad, generator)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": (0, 1)}, "scale"),
        ({"scale": (0.9, 0.4)}, "scale"),
        ({"ratio": (1.1, 2)}, "ratio"),
        ({"size_px": 3}, "size_px must be at least 4"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairedViews(**settings)
