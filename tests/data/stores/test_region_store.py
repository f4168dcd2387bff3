"""The region store: what was written comes back, in order, from any process; bad files are told."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.region_store import RegionStore, tile_regions, write_region_unit
from hmgdm_monai.errors import InputError

SETTINGS = {"regions": {"prior": "nuclei"}}


def make(count, seed=0):
    draw = np.random.default_rng(seed)
    maps = [draw.choice([0, 1, 2, 255], (1, 24, 24)).astype(np.uint8) for _ in range(count)]
    return [tile_regions(regions, f"s{seed}", (number, 7), None) for number, regions in enumerate(maps)]


@pytest.fixture
def store(tmp_path):
    parts = [make(3, 0), make(2, 1)]
    notes = [["s0.png: 3 shapes left out"], []]
    paths = [write_region_unit(tmp_path, f"u{n}", parts[n], SETTINGS, notes[n]) for n in range(2)]
    return RegionStore(paths), [tile for part in parts for tile in part]


def test_reads_what_was_written_over_units(store):
    store, tiles = store
    assert len(store) == 5
    for index, tile in enumerate(tiles):
        assert store[index].dtype == torch.uint8
        assert np.array_equal(store[index].numpy(), tile.regions)
        info = store.tile_info(index)
        assert (info.row_id, info.location_px, info.mpp) == (tile.row_id, tile.location_px, None)
    assert store.notes() == ["s0.png: 3 shapes left out"]


def test_workers_and_copies_read_alike(store):
    store, tiles = store
    store[0]
    for reader in (store, pickle.loads(pickle.dumps(store))):
        batches = list(DataLoader(reader, batch_size=2, num_workers=2))
        assert np.array_equal(torch.cat(batches).numpy(), np.stack([tile.regions for tile in tiles]))


def test_a_unit_that_stands_is_left_and_other_settings_make_another(tmp_path):
    first = write_region_unit(tmp_path, "u", make(2), SETTINGS)

    def never():
        raise AssertionError("tiles were asked for")
        yield

    assert write_region_unit(tmp_path, "u", never(), SETTINGS) == first
    assert write_region_unit(tmp_path, "u", make(1), {"regions": {"prior": "superpixels"}}) != first


def test_missing_damaged_and_other_files_are_told_in_one_line(tmp_path):
    path = write_region_unit(tmp_path, "u", make(2), SETTINGS)
    store = RegionStore([path])
    content = path.read_bytes()
    path.write_bytes(content[:500])
    for read in (lambda: RegionStore([path]), lambda: store[0]):
        with pytest.raises(InputError, match="damaged") as caught:
            read()
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        RegionStore([path])
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds region maps"):
        GraphStore([path])


@pytest.mark.parametrize("regions", [np.zeros((24, 24), np.uint8), np.zeros((1, 24, 24), int)])
def test_a_map_of_another_form_is_refused(regions):
    with pytest.raises(ValueError, match="region map must be"):
        tile_regions(regions, "s", (0, 0), 1.0)
