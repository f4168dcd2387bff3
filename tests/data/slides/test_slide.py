from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.errors import InputError

WHERE = np.array([[0, 0], [37, 91], [300, 200], [411, 123], [-20, 400], [600, 470]])


@pytest.fixture(scope="module")
def pixels(stained):
    return stained(640, 512)


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory, write_tiff, pixels):
    """A JPEG pyramid of downsamples 1 and 2, mpp 0.5, that cuCIM reads."""
    levels = [pixels, np.asarray(Image.fromarray(pixels).resize((320, 256), Image.Resampling.BOX))]
    path = tmp_path_factory.mktemp("pyramid") / "a.tif"
    return write_tiff(path, levels, compression="jpeg", compressionargs={"level": 95})


def _mean_in_child(slide, queue):
    regions = slide.read_regions(WHERE, 128, 0.5, num_workers=2)
    queue.put(regions.astype(np.int64).sum(axis=(1, 2, 3)).tolist())


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("backend", ["cucim", "tifffile", "openslide"])
def test_two_workers_read_what_the_parent_reads_after_a_batch_in_the_parent(pyramid, method, backend):
    slide = open_slide(pyramid, backend=backend)
    expected = slide.read_regions(WHERE, 128, 0.5, num_workers=2).astype(np.int64).sum(axis=(1, 2, 3)).tolist()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=_mean_in_child, args=(slide, queue)) for _ in range(2)]
    try:
        for worker in workers:
            worker.start()
        results = [queue.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(10)
    finally:
        for worker in workers:
            worker.kill()
    assert results == [expected, expected]
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_pickled_slide_reads_the_same(pyramid):
    slide = open_slide(pyramid, mpp=0.4)
    again = pickle.loads(pickle.dumps(slide))
    assert again.mpp == 0.4
    np.testing.assert_array_equal(again.read_region(5, 6, 70, 50), slide.read_region(5, 6, 70, 50))


def test_closed_slide_opens_again(pyramid):
    slide = open_slide(pyramid)
    before = slide.read_region(0, 0, 32, 32)
    slide.close()
    slide.close()
    np.testing.assert_array_equal(slide.read_region(0, 0, 32, 32), before)


@pytest.mark.parametrize("num_workers", [1, 3])
@pytest.mark.parametrize("mpp", [None, 0.3, 0.5, 0.8, 1.0, 2.7])
def test_batched_reading_equals_single_reading(pyramid, mpp, num_workers):
    slide = open_slide(pyramid)
    batch = slide.read_regions(WHERE, 96, mpp, num_workers)
    for (x, y), region in zip(WHERE, batch, strict=True):
        np.testing.assert_array_equal(region, slide.read_region(int(x), int(y), 96, 96, mpp))
    assert slide.read_regions(np.zeros((0, 2)), 96, mpp, num_workers).shape == (0, 96, 96, 3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=st.integers(-200, 800), y=st.integers(-200, 700), width=st.integers(1, 150), height=st.integers(1, 150))
def test_region_is_a_crop_of_the_slide_padded_white(pyramid, pixels, x, y, width, height):
    slide = open_slide(pyramid)
    whole = np.full((512 + 1100, 640 + 1200, 3), 255, np.uint8)
    whole[400 : 400 + 512, 400 : 400 + 640] = slide.read_region(0, 0, 640, 512)
    np.testing.assert_array_equal(
        slide.read_region(x, y, width, height), whole[400 + y : 400 + y + height, 400 + x : 400 + x + width]
    )


def test_exact_level_is_not_resampled(tmp_path, write_tiff, pixels):
    coarse = np.random.default_rng(0).integers(0, 255, (256, 320, 3), dtype=np.uint8)
    slide = open_slide(write_tiff(tmp_path / "a.tif", [pixels, coarse]))
    np.testing.assert_array_equal(slide.read_region(100, 60, 50, 40, 1.0), coarse[30:70, 50:100])
    np.testing.assert_array_equal(slide.read_region(100, 60, 50, 40, 0.5), pixels[60:100, 100:150])
    # 0.499 instead of 0.5 moves no pixel of a tile by half its width.
    np.testing.assert_array_equal(slide.read_region(100, 60, 50, 40, 0.499), pixels[60:100, 100:150])


@pytest.mark.parametrize("backend", ["cucim", "tifffile"])
@pytest.mark.parametrize("sizes", [(700, 500), (700, 500, 280, 200), (701, 503, 233, 167), (700, 500, 539, 385)])
@pytest.mark.parametrize("mpp", [0.5, 0.61, 0.9, 1.25, 1.5, 2.3])
def test_mark_lands_where_it_should_within_a_pixel(tmp_path, write_tiff, backend, sizes, mpp):
    mark_xy = np.array([431.0, 287.0])
    width, height = sizes[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    blob = np.exp(-((x - mark_xy[0]) ** 2 + (y - mark_xy[1]) ** 2) / (2 * 6.0**2))
    finest = np.rint(255 - 200 * np.stack([blob] * 3, -1)).astype(np.uint8)
    levels = [finest]
    if len(sizes) == 4:
        levels.append(np.asarray(Image.fromarray(finest).resize(sizes[2:], Image.Resampling.BOX)))
    slide = open_slide(write_tiff(tmp_path / "a.tif", levels), backend=backend)
    corner = np.array([331, 213])
    size = round(200 / (mpp / 0.5))
    region = slide.read_region(*corner.tolist(), size, size, mpp)
    weight = 255.0 - region[..., 0]
    center = [(weight * (grid + 0.5)).sum() / weight.sum() for grid in np.mgrid[:size, :size][::-1]]
    np.testing.assert_allclose(center, (mark_xy - corner) / (mpp / 0.5), atol=0.6)


def test_resampling_is_an_area_average(tmp_path, write_tiff):
    # A chequer board of single pixels is even gray when seen from afar; picking pixels would show black and white.
    board = np.repeat(((np.indices((512, 512)).sum(0) % 2) * 255)[..., None], 3, -1).astype(np.uint8)
    slide = open_slide(write_tiff(tmp_path / "a.tif", [board]))
    region = slide.read_region(50, 50, 100, 100, 1.7)
    assert np.abs(region.astype(int) - 127).max() <= 25


def test_beyond_the_borders_is_white_at_any_scale(pyramid):
    slide = open_slide(pyramid)
    for mpp in (None, 0.5, 0.7, 1.0, 3.0):
        assert (slide.read_region(-4000, 100, 64, 64, mpp) == 255).all()
        assert (slide.read_region(5000, 5000, 64, 64, mpp) == 255).all()
        assert (slide.read_regions([[9000, 0]], 64, mpp) == 255).all()


def test_thumbnail_shows_the_whole_slide(pyramid, pixels, monkeypatch):
    slide = open_slide(pyramid)
    thumbnail, downsample = slide.thumbnail(100)
    assert thumbnail.shape == (80, 100, 3)
    assert downsample == pytest.approx(6.4)
    expected = np.asarray(Image.fromarray(pixels).resize((100, 80), Image.Resampling.BOX))
    assert np.abs(thumbnail.astype(int) - expected).mean() < 4
    monkeypatch.setattr("hmgdm_monai.data.slides.slide.THUMBNAIL_BAND_BYTES", 10_000)  # in bands the same
    np.testing.assert_array_equal(slide.thumbnail(100)[0], thumbnail)
    assert slide.thumbnail(10_000)[0].shape == (512, 640, 3)
    assert slide.thumbnail(10_000)[1] == 1.0


def test_mpp_comes_from_the_file_and_the_override_wins(pyramid):
    assert open_slide(pyramid).mpp == pytest.approx(0.5)
    assert open_slide(pyramid, mpp=0.25).mpp == 0.25
    for bad in (0.0, -1.0, float("nan"), 40.0, 0.01):
        with pytest.raises(InputError, match="mpp must be microns per pixel from 0.05 to 20 and no magnification"):
            open_slide(pyramid, mpp=bad)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="must be a positive"):
            open_slide(pyramid).read_region(0, 0, 10, 10, bad)


def test_unknown_mpp_asks_for_the_manifest_column(tmp_path, write_tiff, pixels):
    slide = open_slide(write_tiff(tmp_path / "a.tif", [pixels], mpp=None))
    assert slide.mpp is None
    slide.read_region(0, 0, 10, 10)
    with pytest.raises(InputError, match=r"a\.tif.*manifest's mpp column"):
        slide.read_region(0, 0, 10, 10, 1.0)


def test_plain_image_of_unknown_mpp_is_at_the_one_asked_for(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    slide = open_slide(tmp_path / "a.png")
    assert (slide.backend, slide.mpp, slide.plain) == ("image", None, True)
    np.testing.assert_array_equal(slide.read_region(30, 20, 64, 48, 0.7), pixels[20:68, 30:94])
    known = open_slide(tmp_path / "a.png", mpp=0.5)
    assert np.abs(known.read_region(0, 0, 32, 32, 1.0).astype(int)[8:24, 8:24] - pixels[16:48:2, 16:48:2]).mean() < 6


def test_what_comes_back_is_the_callers_to_change(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    slide = open_slide(tmp_path / "a.png")
    slide.read_region(0, 0, 64, 64)[:] = 0
    np.testing.assert_array_equal(slide.read_region(0, 0, 64, 64), pixels[:64, :64])


def _message(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        open_slide(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_unusable_files_get_one_line(tmp_path, pyramid, pixels):
    assert "no such file" in _message(tmp_path / "none.svs")
    assert "no such file" in _message(tmp_path)
    for name, content in {
        "empty.svs": b"",
        "text.svs": b"hello world " * 9,
        "text.png": b"hello",
        "head.tif": b"II*\0",
    }.items():
        (tmp_path / name).write_bytes(content)
        _message(tmp_path / name)
    whole = pyramid.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9, 0.999):
        (tmp_path / "cut.tif").write_bytes(whole[: int(share * len(whole))])
        _message(tmp_path / "cut.tif")
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:5000])
    assert "cut short" in _message(tmp_path / "cut.jpg")
    assert "there are cucim" in _message(pyramid, backend="magic")


def test_damage_found_while_reading_is_one_line_too(tmp_path, write_tiff, pixels):
    import tifffile

    path = write_tiff(tmp_path / "a.tif", [pixels], compression="zlib", predictor=True)
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(count)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged, tile at x 0, y 0 px of level 0"):
        open_slide(path).read_region(0, 0, 64, 64)


def test_a_scale_by_which_all_memory_would_be_read_is_told(pyramid):
    slide = open_slide(pyramid, mpp=0.05, max_image_px=10_000_000)
    with pytest.raises(InputError, match=r"px would be read for 256 x 256; check its own mpp \(0.05\)"):
        slide.read_regions([[0, 0]], 256, 20.0)
