"""From a cohort to its region maps: in step with the graph store, resumable, keyed by all that shapes them."""

from __future__ import annotations

import csv
import logging
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

from hmgdm_monai.data.stores.region_store import RegionStore
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation import region_stores
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.region_stores import build_region_stores
from hmgdm_monai.preparation.tile_recipe import TileRecipe
from hmgdm_monai.transforms.cell_prior import ImportedPrior, NucleusPrior, SuperpixelPrior
from hmgdm_monai.transforms.superpixels import Superpixels
from hmgdm_monai.transforms.tile_transforms import graph_transforms

SIZE_PX = 64


@pytest.fixture
def cohort(tmp_path, stained, write_tiff):
    """Function -> graph stores of a slide of 2 x 2 tiles and three plain tiles, a patient each, with cells for all."""

    def build(cells=None):
        rows = []
        for number, (side, suffix) in enumerate([(128, ".tif"), (64, ".png"), (64, ".png"), (64, ".png")]):
            pixels = np.roll(stained(side, side), 11 * number, axis=0)
            path = tmp_path / f"i{number}{suffix}"
            if suffix == ".tif":
                write_tiff(path, [pixels], mpp=0.5)
            else:
                Image.fromarray(pixels).save(path)
            labels = np.zeros((side, side), np.uint8)
            labels[10:20, 30 : 40 + number] = 1
            np.save(tmp_path / f"c{number}.npy", labels)
            rows.append({"image": path.name, "patient": f"P{number}", "cells": f"c{number}.npy"})
        with (tmp_path / "cohort.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, **(cells or {}).get(number, {})} for number, row in enumerate(rows))
        spec = TileSpec(SIZE_PX, 0.5, min_tissue=0)
        return build_graph_stores(
            tmp_path / "cohort.csv",
            tmp_path / "graphs",
            TileRecipe(spec, graph_transforms(Superpixels(n_segments=12))),
            progress=False,
        )

    return build


def maps(paths):
    store = RegionStore(paths)
    return np.stack([store[index].numpy() for index in range(len(store))])


@pytest.mark.parametrize("prior", [NucleusPrior(), SuperpixelPrior(), ImportedPrior()], ids=["n", "s", "i"])
def test_maps_are_those_of_the_prior_in_the_order_of_the_graph_store(cohort, tmp_path, prior):
    cohort = cohort()
    paths = build_region_stores(cohort, tmp_path / "regions", prior, progress=False)
    graphs, regions = cohort.store(), RegionStore(paths)
    assert len(regions) == len(graphs) == 7
    for index in range(7):
        info = graphs.tile_info(index)
        assert regions.tile_info(index) == info
        image, superpixels = graphs.image(index).transpose(2, 0, 1), graphs[index].label_map.numpy()
        assert np.array_equal(superpixels, graphs.superpixels(index))
        expected = prior(image, superpixels, 0.5, cohort.tile_rows[index], info.location_px)
        assert np.array_equal(regions[index].numpy(), expected)
    assert regions.notes() == []


def test_imported_cells_lie_where_the_tile_lies(cohort, tmp_path):
    found = maps(build_region_stores(cohort(), tmp_path / "regions", ImportedPrior(), progress=False))
    assert [int((regions == 2).sum()) for regions in found] == [100, 0, 0, 0, 110, 120, 130]
    assert (found[0, 0, 10:20, 30:40] == 2).all()


def test_what_stands_is_kept_and_what_changed_is_made_anew(cohort, tmp_path):
    cohort = cohort()
    first = build_region_stores(cohort, tmp_path / "regions", ImportedPrior(), progress=False)
    times = [path.stat().st_mtime_ns for path in first]
    assert build_region_stores(cohort, tmp_path / "regions", ImportedPrior(), progress=False) == first
    assert [path.stat().st_mtime_ns for path in first] == times
    np.save(tmp_path / "c2.npy", np.zeros((64, 64), np.int32))
    changed = build_region_stores(cohort, tmp_path / "regions", ImportedPrior(), progress=False)
    assert [a == b for a, b in zip(first, changed, strict=True)] == [True, True, False, True]
    assert (maps(changed)[5] == 2).sum() == 0
    other = build_region_stores(cohort, tmp_path / "regions", NucleusPrior(), progress=False)
    assert not set(other) & set(first)
    assert not set(other) & set(build_region_stores(cohort, tmp_path / "regions", NucleusPrior(sigma_um=1), 0, False))


def test_a_damaged_file_is_made_anew(cohort, tmp_path):
    cohort = cohort()
    paths = build_region_stores(cohort, tmp_path / "regions", SuperpixelPrior(), progress=False)
    before = maps(paths)
    paths[1].write_bytes(paths[1].read_bytes()[:700])
    assert build_region_stores(cohort, tmp_path / "regions", SuperpixelPrior(), progress=False) == paths
    assert np.array_equal(maps(paths), before)


def test_workers_make_the_same(cohort, tmp_path):
    cohort = cohort()
    alone = build_region_stores(cohort, tmp_path / "alone", ImportedPrior(), progress=False)
    together = build_region_stores(cohort, tmp_path / "together", ImportedPrior(), num_workers=2, progress=False)
    assert [path.name for path in together] == [path.name for path in alone]
    assert np.array_equal(maps(together), maps(alone))


def test_an_image_without_usable_cells_is_named_and_keeps_the_stores_in_step(cohort, tmp_path, caplog):
    cohort = cohort({1: {"cells": ""}, 2: {"cells": "c0.npy"}})
    for _ in range(2):  # the second time from the store
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            paths = build_region_stores(cohort, tmp_path / "regions", ImportedPrior(), progress=False)
        found = maps(paths)
        assert [bool((regions == 255).all()) for regions in found] == [False] * 4 + [True, True, False]
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 3
        assert "no regions for i1: " in lines[0] and "fill in its cells column" in lines[0]
        assert "no regions for i2: " in lines[1] and "128 x 128 px, its image 64 x 64" in lines[1]
        assert lines[2] == "2 of 4 images have no regions; the dense task skips them"


def test_unknown_classes_are_told_once_for_each_file(cohort, tmp_path, caplog):
    labels = np.zeros((128, 128), np.uint8)
    labels[:10] = 5
    cohort = cohort()
    np.save(tmp_path / "c0.npy", labels)
    with caplog.at_level(logging.WARNING):
        paths = build_region_stores(cohort, tmp_path / "regions", ImportedPrior(["tumor"], "classes"), progress=False)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "1280 px of class ids beyond the 1 listed (5: 1280)" in line
    assert (maps(paths)[0, 0, :10] == 255).all()


def test_no_image_with_cells_is_an_error_with_all_reasons(cohort, tmp_path):
    cohort = cohort({number: {"cells": ""} for number in range(4)})
    with pytest.raises(InputError) as caught:
        build_region_stores(cohort, tmp_path / "regions", ImportedPrior(), progress=False)
    assert len(str(caught.value).splitlines()) == 5


def test_other_faults_of_a_prior_surface(cohort, tmp_path):
    cohort = cohort()
    with pytest.raises(InputError, match="lower n_segments"):
        build_region_stores(cohort, tmp_path / "regions", SuperpixelPrior(2), progress=False)
    assert list((tmp_path / "regions").glob("*")) == []
    with pytest.raises(InputError, match="num_workers"):
        build_region_stores(cohort, tmp_path / "regions", SuperpixelPrior(), num_workers=-1)


def build_slowly(cohort, folder):
    tqdm.set_lock(threading.RLock())  # killed, the process would take the lock that it shares with its parent along
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have switched off
    regions = region_stores.tile_regions

    def slowly(*args):
        time.sleep(0.15)
        return regions(*args)

    region_stores.tile_regions = slowly
    build_region_stores(cohort, folder, NucleusPrior(), progress=False)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_ended_at_any_time_leaves_whole_units_and_is_completed(cohort, tmp_path, how):
    cohort, folder = cohort(), tmp_path / "regions"
    process = multiprocessing.get_context("fork").Process(target=build_slowly, args=(cohort, folder))
    process.start()
    end = time.monotonic() + 60
    while not (list(folder.glob("*.h5")) and list(folder.glob(".*.tmp"))):
        assert time.monotonic() < end
        time.sleep(0.01)
    while process.is_alive() and time.monotonic() < end:
        os.kill(process.pid, how)  # again, if Python was in a finalizer, where it drops a KeyboardInterrupt
        process.join(1)
    standing = sorted(folder.glob("*.h5"))
    assert 1 <= len(standing) < 4
    times = [path.stat().st_mtime_ns for path in standing]
    resumed = build_region_stores(cohort, folder, NucleusPrior(), progress=False)
    assert [path.stat().st_mtime_ns for path in standing] == times
    whole = build_region_stores(cohort, tmp_path / "whole", NucleusPrior(), progress=False)
    assert [path.name for path in resumed] == [path.name for path in whole]
    assert np.array_equal(maps(resumed), maps(whole))
