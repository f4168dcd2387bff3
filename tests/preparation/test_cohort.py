from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from tqdm import tqdm

from hmgdm_monai.data.manifest.manifest import read_manifest
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation import graph_unit
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.graph_unit import TileRecipe, plan_units, thin
from hmgdm_monai.transforms.stain import NormalizeStain
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms

SPEC = TileSpec(size_px=64, mpp=0.5)
CUT = Superpixels(n_segments=12)


@pytest.fixture
def build(tmp_path):
    """Build with small tiles into tmp_path/graphs."""

    def run(manifest, folder="graphs", **kwargs):
        own = {name: kwargs.pop(name) for name in ("num_workers",) if name in kwargs}
        stain = kwargs.pop("stain", None)
        cutter, spec = kwargs.pop("cutter", CUT), kwargs.pop("tile_spec", SPEC)
        recipe = TileRecipe(spec, graph_transforms(cutter, stain), kwargs.pop("max_tiles_per_slide", None), **kwargs)
        return build_graph_stores(manifest, tmp_path / folder, recipe, progress=False, **own)

    return run


@pytest.fixture
def write_manifest(tmp_path):
    def write(rows, name="cohort.csv"):
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return write


@pytest.fixture
def slides(tmp_path, stained, write_tiff):
    """Three slides of 4, 6 and 9 tiles; rows for a manifest."""
    (tmp_path / "slides").mkdir()
    rows = []
    for number, (across, down) in enumerate([(2, 2), (3, 2), (3, 3)]):
        pixels = np.roll(stained(64 * across, 64 * down), 17 * number, axis=1)
        write_tiff(tmp_path / "slides" / f"s{number}.tif", [pixels], compression="zlib")
        rows.append({"image": f"slides/s{number}.tif", "patient": f"P{number // 2}", "label": "ab"[number % 2]})
    return rows


@pytest.fixture
def tiles(tmp_path, stained):
    """Four plain tiles of two patients."""
    (tmp_path / "tiles").mkdir()
    rows = []
    for number in range(4):
        Image.fromarray(np.roll(stained(64, 64), 9 * number, axis=0)).save(tmp_path / "tiles" / f"t{number}.png")
        rows.append({"image": f"tiles/t{number}.png", "patient": f"Q{number % 2}", "label": "c"})
    return rows


@pytest.fixture
def opened(monkeypatch):
    """Names of the images that are opened from here on."""
    names = []
    open_slide = graph_unit.open_slide

    def counting(path, *args, **kwargs):
        names.append(path.name)
        return open_slide(path, *args, **kwargs)

    monkeypatch.setattr(graph_unit, "open_slide", counting)
    return names


def same_stores(first: GraphStore, second: GraphStore) -> bool:
    if len(first) != len(second):
        return False
    for index in range(len(first)):
        a, b = (dict(store[index].items()) for store in (first, second))
        a["mpp"], b["mpp"] = a["mpp"].nan_to_num(-1.0), b["mpp"].nan_to_num(-1.0)  # unknown is not equal to itself
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            return False
        if first.tile_info(index) != second.tile_info(index):
            return False
    return True


def test_every_tile_of_slides_and_plain_tiles_is_stored_with_its_place_and_graph(
    build, write_manifest, slides, tiles, tmp_path
):
    cohort = build(write_manifest([*slides[:1], *tiles, *slides[1:]]))
    tiles_q0, tiles_q1 = ("tiles of patient Q0", 2), ("tiles of patient Q1", 2)
    # In the order of the images' names: that of the rows must not matter.
    assert cohort.done == [("slides/s0", 4), ("slides/s1", 6), ("slides/s2", 9), tiles_q0, tiles_q1]
    assert len(cohort.paths) == 5
    assert cohort.skipped == []
    assert cohort.summary() == "done 3 slides (19 tiles) and 4 plain tiles of 2 patients, skipped 0"
    store = cohort.store()
    assert len(store) == 23
    for index in range(len(store)):
        graph, info = store[index], store.tile_info(index)
        source = tifffile.imread if info.row_id.startswith("slides") else lambda path: np.asarray(Image.open(path))
        pixels = source(cohort.rows[info.row_id].image)
        x, y = info.location_px
        assert np.array_equal(store.image(index), pixels[y : y + 64, x : x + 64])
        assert info.mpp == (0.5 if info.row_id.startswith("slides") else None)
        assert np.array_equal(graph.label_map.numpy(), CUT(store.image(index).transpose(2, 0, 1)))
        assert graph.num_vertices == int(graph.label_map.max()) + 1
        assert np.array_equal(graph.image[0].numpy().transpose(1, 2, 0), store.image(index))


def test_patients_and_labels_are_known_for_each_tile(build, write_manifest, slides, tiles):
    cohort = build(write_manifest([*slides, *tiles]))
    assert [row.label for row in cohort.tile_rows] == ["a"] * 4 + ["b"] * 6 + ["a"] * 9 + ["c"] * 4
    by_patient = cohort.indices_by_patient()
    assert {patient: len(indices) for patient, indices in by_patient.items()} == {"P0": 10, "P1": 9, "Q0": 2, "Q1": 2}
    store = cohort.store(tiles=False)
    assert {store.tile_info(index).row_id for index in by_patient["Q1"]} == {"tiles/t1", "tiles/t3"}


def test_what_stands_is_not_opened_again(build, write_manifest, slides, tiles, opened):
    manifest = write_manifest([*slides, *tiles])
    first = build(manifest)
    assert len(opened) == 7
    opened.clear()
    second = build(manifest)
    assert opened == []
    assert (second.paths, second.done) == (first.paths, first.done)
    first.paths[1].unlink()
    build(manifest)
    assert opened == ["s1.tif"]


@pytest.mark.parametrize(
    "change",
    [
        {"tile_spec": TileSpec(size_px=64, mpp=0.5, min_tissue=0.6)},
        {"cutter": Superpixels(n_segments=13)},
        {"cutter": Superpixels(n_segments=12, merge_threshold=0.02)},
        {"stain": NormalizeStain()},
        {"max_tiles_per_slide": 3},
    ],
)
def test_another_setting_means_another_file(build, write_manifest, slides, change):
    manifest = write_manifest(slides[:1])
    assert build(manifest).paths != build(manifest, **change).paths


def test_equal_settings_of_other_types_mean_the_same_file(build, write_manifest, slides, opened):
    manifest = write_manifest(slides[:1])
    cohort = build(manifest, tile_spec=TileSpec(64, 1), cutter=Superpixels(compactness=20), stain=None)
    again = build(
        manifest,
        tile_spec=TileSpec(np.int64(64), 1.0),
        cutter=Superpixels(compactness=20.0),
        stain=NormalizeStain(None),
        seed=5,  # draws nothing where no tiles are drawn
    )
    assert again.paths == cohort.paths
    assert len(opened) == 1


def test_a_replaced_image_and_another_mpp_are_computed_anew(
    build, write_manifest, slides, tmp_path, write_tiff, stained
):
    first = build(write_manifest(slides[:2]))
    write_tiff(tmp_path / "slides" / "s0.tif", [stained(192, 64)], compression="zlib")
    second = build(write_manifest(slides[:2]))
    assert second.done == [("slides/s0", 3), first.done[1]]
    assert second.paths[1] == first.paths[1]
    third = build(write_manifest([{**row, "mpp": 0.3} for row in slides[:2]]))
    assert not set(third.paths) & set(second.paths)
    assert third.done[1][1] < 6


def test_bad_images_are_named_and_the_rest_goes_on(build, write_manifest, slides, tiles, tmp_path, stained, write_tiff):
    write_tiff(tmp_path / "slides" / "no_mpp.tif", [stained(128, 128)], mpp=None)
    write_tiff(tmp_path / "slides" / "glass.tif", [np.full((256, 256, 3), 240, np.uint8)])
    whole = (tmp_path / "slides" / "s2.tif").read_bytes()
    (tmp_path / "slides" / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "slides" / "text.svs").write_text("not a slide")
    names = ["no_mpp.tif", "glass.tif", "cut.tif", "text.svs"]
    bad = [{"image": f"slides/{name}", "patient": "B"} for name in names]
    missing = {"image": "slides/missing.svs", "patient": "B"}
    cohort = build(write_manifest([bad[0], *slides, *bad[1:], missing, *tiles]))
    assert sum(n for _, n in cohort.done) == 23
    what, why = zip(*cohort.skipped, strict=True)
    assert what == ("cohort.csv line 9", *(f"slides/{name}" for name in names))
    assert "missing.svs" in why[0]
    assert "mpp column" in why[1]
    assert "no tissue" in why[2]
    assert "truncated" in why[3]
    lines = cohort.summary().splitlines()
    assert lines[0] == "done 3 slides (19 tiles) and 4 plain tiles of 2 patients, skipped 5:"
    assert lines[1:] == [f"- {a}: {b}" for a, b in cohort.skipped]
    assert not any(reason.startswith(str(tmp_path)) for reason in why[1:])  # named already, as in the manifest


def test_a_slide_damaged_half_way_leaves_no_part_of_it(build, write_manifest, slides, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_unit, "TILES_AT_ONCE", 2)
    path = tmp_path / "slides" / "s2.tif"
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[3], tif.pages[0].databytecounts[3]
    content = bytearray(path.read_bytes())
    content[start : start + count] = bytes(count)
    path.write_bytes(content)
    cohort = build(write_manifest(slides), tile_spec=TileSpec(64, 0.5, min_tissue=0))
    assert [unit for unit, _ in cohort.done] == ["slides/s0", "slides/s1"]
    assert cohort.skipped[0][0] == "slides/s2.tif"
    assert sorted(tmp_path.glob("graphs/*")) == sorted(cohort.paths)
    assert sorted(tmp_path.glob("graphs/.*")) == []


def test_a_damaged_plain_tile_is_left_out_told_again_and_taken_up_once_mended(
    build, write_manifest, tiles, tmp_path, opened
):
    path = tmp_path / "tiles" / "t2.png"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    manifest = write_manifest(tiles)
    first = build(manifest)
    assert first.done == [("tiles of patient Q0", 1), ("tiles of patient Q1", 2)]
    assert [what for what, _ in first.skipped] == ["tiles/t2.png"]
    opened.clear()
    again = build(manifest)
    assert opened == ["t2.png"]
    assert (again.skipped, again.done, again.paths) == (first.skipped, first.done, first.paths)
    path.write_bytes(good)
    mended = build(manifest)
    assert mended.done == [("tiles of patient Q0", 2), ("tiles of patient Q1", 2)]
    assert mended.skipped == []


def test_an_image_that_could_not_be_read_for_a_moment_is_taken_up(build, write_manifest, tiles, monkeypatch):
    manifest = write_manifest(tiles)
    open_slide = graph_unit.open_slide

    def refuse(path, **kwargs):
        if path.name == "t0.png":
            raise InputError(f"{path}: no answer; try again")
        return open_slide(path, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(graph_unit, "open_slide", refuse)
        assert build(manifest).skipped == [("tiles/t0.png", "no answer; try again")]
    assert build(manifest).done == [("tiles of patient Q0", 2), ("tiles of patient Q1", 2)]


def test_a_damaged_unit_is_built_anew(build, write_manifest, slides):
    manifest = write_manifest(slides)
    first = build(manifest)
    content = first.paths[1].read_bytes()
    first.paths[1].write_bytes(content[:1000])
    assert build(manifest).done == first.done
    assert first.paths[1].stat().st_size > 1000


def test_other_errors_surface(build, write_manifest, slides, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(Superpixels, "cut", broken)
    with pytest.raises(RuntimeError, match="CutEntitiesd") as caught:
        build(write_manifest(slides))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_nothing_usable_is_an_error_with_all_reasons(build, write_manifest, tmp_path, num_workers):
    for number in range(2):
        Image.new("RGB", (300, 300), "white").save(tmp_path / f"white{number}.png")
    rows = [{"image": f"white{number}.png", "patient": number} for number in range(2)]
    with pytest.raises(InputError) as caught:
        build(write_manifest([*rows, {"image": "gone.png", "patient": "C"}]), num_workers=num_workers)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["- cohort.csv line 4", "- white0.png", "- white1.png"]
    assert list((tmp_path / "graphs").glob("*")) == []


@pytest.mark.parametrize("setting", [{"max_tiles_per_slide": 0}, {"num_workers": -1}])
def test_settings_out_of_range_are_told(build, write_manifest, slides, setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        build(write_manifest(slides), **setting)


def test_any_kind_of_plain_tile_becomes_a_graph(build, write_manifest, tmp_path, stained):
    pixels = stained(64, 64)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([pixels, np.full((64, 64), 255, np.uint8)])).save(tmp_path / "rgba.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "gray16.png")
    tifffile.imwrite(tmp_path / "rgb16.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
    Image.new("RGB", (64, 64), (180, 60, 120)).save(tmp_path / "one_color.png")
    Image.fromarray(stained(50, 70)).save(tmp_path / "odd_size.jpg")
    names = ["gray.png", "rgba.png", "gray16.png", "rgb16.tif", "one_color.png", "odd_size.jpg"]
    cohort = build(
        write_manifest([{"image": n, "patient": "P", "mpp": 0.5} for n in names]), stain=NormalizeStain(None)
    )
    assert cohort.done == [("tiles of patient P", 6)]
    store = cohort.store()
    places = {store.tile_info(index).row_id: index for index in range(6)}
    assert np.array_equal(store.image(places["rgba"]), pixels)
    assert np.array_equal(store.image(places["rgb16"]), pixels)
    assert np.array_equal(store.image(places["gray"]), store.image(places["gray16"]))
    assert store[places["one_color"]].num_vertices == 1
    assert store[places["one_color"]].edge_index.shape == (2, 0)


def test_stain_is_normalized_before_the_tile_is_cut_and_stored(build, write_manifest, tiles):
    manifest = write_manifest(tiles)
    plain = build(manifest).store()
    store = build(manifest, stain=NormalizeStain()).store()
    normalized = NormalizeStain()(plain.image(0).transpose(2, 0, 1))
    assert np.array_equal(store.image(0), normalized.transpose(1, 2, 0))
    assert np.array_equal(store[0].label_map.numpy(), CUT(normalized))


def test_a_thousand_tiles_of_a_patient_are_one_unit_with_a_name_that_fits(tmp_path, write_manifest):
    patient = "患者" * 60
    Image.new("RGB", (8, 8)).save(tmp_path / "t0000.png")
    for number in range(1, 1000):
        os.link(tmp_path / "t0000.png", tmp_path / f"t{number:04}.png")
    rows = [{"image": f"t{number:04}.png", "patient": patient} for number in range(1000)]
    recipe = TileRecipe(TileSpec(8, 1.0), graph_transforms(CUT))
    units, skipped = plan_units(read_manifest(write_manifest(rows)).rows, tmp_path / "graphs", recipe)
    assert len(units) == 1
    assert skipped == {}
    assert len(units[0].path.name) < 180
    assert graph_unit.build_unit(units[0]).n_tiles == 1000


def test_tiles_are_thinned_evenly_and_always_alike(build, write_manifest, slides):
    locations = np.arange(2000).reshape(1000, 2)
    chosen = thin(locations, 100, seed=1, row_id="a")
    assert np.array_equal(chosen[:, 0] // 20, np.arange(100))
    assert np.array_equal(chosen, thin(locations, 100, seed=1, row_id="a"))
    assert not np.array_equal(chosen, thin(locations, 100, seed=2, row_id="a"))
    assert not np.array_equal(chosen, thin(locations, 100, seed=1, row_id="b"))
    assert thin(locations, 1000, seed=1, row_id="a") is locations
    assert build(write_manifest(slides), max_tiles_per_slide=5).done == [
        (f"slides/s{i}", n) for i, n in enumerate((4, 5, 5))
    ]


def test_workers_build_the_same_stores_in_the_same_order(build, write_manifest, slides, tiles, tmp_path):
    (tmp_path / "slides" / "bad.svs").write_text("not a slide")
    manifest = write_manifest([slides[2], {"image": "slides/bad.svs", "patient": "B"}, *tiles, *slides[:2]])
    alone = build(manifest, "alone")
    together = build(manifest, "together", num_workers=2)
    assert together.done == alone.done
    assert together.skipped == alone.skipped
    assert [path.name for path in together.paths] == [path.name for path in alone.paths]
    assert same_stores(alone.store(), together.store())


def build_slowly(manifest, folder, num_workers):
    tqdm.set_lock(threading.RLock())  # killed, the process would take the lock that it shares with its parent along
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have switched off
    os.setsid()
    build = graph_unit.transformed

    def slowly(*args, **kwargs):
        time.sleep(0.1)
        return build(*args, **kwargs)

    graph_unit.transformed = slowly
    build_graph_stores(
        manifest, folder, TileRecipe(SPEC, graph_transforms(CUT)), num_workers=num_workers, progress=False
    )


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("how", "num_workers"), [(signal.SIGKILL, 0), (signal.SIGINT, 0), (signal.SIGKILL, 2), (signal.SIGINT, 2)]
)
def test_a_run_ended_at_any_time_leaves_whole_units_and_is_completed(
    build, write_manifest, slides, tmp_path, how, num_workers
):
    manifest, folder = write_manifest(slides), tmp_path / "graphs"
    process = multiprocessing.get_context("fork").Process(target=build_slowly, args=(manifest, folder, num_workers))
    process.start()
    wait_for(lambda: list(folder.glob("*.h5")) and list(folder.glob(".*.tmp")))
    os.kill(process.pid, how)  # the parent alone
    process.join(60)
    assert process.exitcode not in (0, None)
    standing = sorted(folder.glob("*.h5"))
    assert 1 <= len(standing) < 3
    if how == signal.SIGINT:
        assert list(folder.glob(".*")) == []
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        wait_for(lambda: os.killpg(process.pid, 0), 20)
    standing = sorted(folder.glob("*.h5"))
    times = [path.stat().st_mtime_ns for path in standing]
    resumed = build(manifest)
    assert [path.stat().st_mtime_ns for path in standing] == times
    whole = build(manifest, "uninterrupted")
    assert resumed.done == whole.done
    assert same_stores(resumed.store(), whole.store())
