"""The graph store: units whole or not at all, resumable, and the same for every reader."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.data.files import whole_file
from hmgdm_monai.data.stores.graph_store import GraphStore, GraphTile, write_unit
from hmgdm_monai.data.stores.ragged_store import TileInfo
from hmgdm_monai.data.stores.ragged_unit import settings_key, unit_path
from hmgdm_monai.errors import InputError

SIZE_PX = 48
SETTINGS = {"n_segments": 50, "mpp": 1.0}
FORK = multiprocessing.get_context("fork")


def make_tile(seed: int, columns: int = 4) -> GraphTile:
    """A tile of ``columns`` superpixels, stripes of unequal width, each touching the next, below a row without any.

    The image is noise.
    """
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.choice(np.arange(1, SIZE_PX), columns - 1, replace=False))
    stripes = np.searchsorted(cuts, np.arange(SIZE_PX), side="right")
    labels = np.tile(stripes, (1, SIZE_PX, 1)).astype(np.int32)
    labels[:, 0] = -1
    ends = np.arange(columns - 1)
    graph = EntityGraph(
        pos=torch.from_numpy(rng.random((columns, 2), dtype=np.float32)),
        edge_index=torch.from_numpy(np.stack([ends, ends + 1])),
        label_map=torch.from_numpy(labels),
    )
    image = rng.integers(0, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    return GraphTile(graph, f"slides/{seed}", (seed * 100, 2**33 + seed), None if seed % 3 == 0 else 0.5 + seed, image)


def make_tiles(count: int = 5) -> list[GraphTile]:
    return [make_tile(seed, columns=2 + seed) for seed in range(count)]


def assert_holds(store: GraphStore, tiles: list[GraphTile]) -> None:
    assert len(store) == len(tiles)
    for index, tile in enumerate(tiles):
        graph = store[index]
        for name in ("pos", "edge_index", "label_map"):
            assert torch.equal(graph[name], tile.graph[name])
            assert graph[name].dtype == tile.graph[name].dtype
        assert graph.image.dtype == torch.uint8 and graph.image.shape == (1, 3, *tile.image.shape[:2])
        assert np.array_equal(graph.image[0].numpy().transpose(1, 2, 0), tile.image)
        assert np.array_equal(store.image(index), tile.image)
        assert np.array_equal(store.superpixels(index), tile.graph.label_map.numpy())
        info = store.tile_info(index)
        assert (info.row_id, info.location_px, info.mpp) == (tile.row_id, tile.location_px, tile.mpp)


def test_reads_what_was_written_over_units(tmp_path: Path) -> None:
    tiles = make_tiles(5)
    paths = [
        write_unit(tmp_path, "slides/a", tiles[:2], SETTINGS),
        write_unit(tmp_path, "empty", [], SETTINGS),
        write_unit(tmp_path, "slides_a", tiles[2:], SETTINGS),
    ]
    store = GraphStore(paths)
    assert_holds(store, tiles)
    assert [(unit.name, unit.tiles) for unit in store.units] == [
        ("slides/a", range(0, 2)),
        ("empty", range(2, 2)),
        ("slides_a", range(2, 5)),
    ]
    assert all(unit.settings == SETTINGS for unit in store.units)
    assert store.tile_info(4) == TileInfo("slides_a", "slides/4", tiles[4].location_px, tiles[4].mpp)
    with pytest.raises(IndexError):
        store[5]


def test_one_superpixel_without_an_edge(tmp_path: Path) -> None:
    tiles = [make_tile(1, columns=1), make_tile(2, columns=3), make_tile(4, columns=1)]
    store = GraphStore([write_unit(tmp_path, "a", tiles, SETTINGS)])
    assert_holds(store, tiles)
    assert store[0].edge_index.shape == (2, 0)
    lonely = GraphStore([write_unit(tmp_path, "b", tiles[:1], SETTINGS)])
    assert_holds(lonely, tiles[:1])


def test_without_tiles_a_graph_is_its_topology_alone(tmp_path: Path) -> None:
    tiles = make_tiles(3)
    path = write_unit(tmp_path, "a", tiles, SETTINGS)
    bare = GraphStore([path], tiles=False)
    for index, tile in enumerate(tiles):
        graph = bare[index]
        assert not {"image", "label_map"} & set(graph.keys())
        assert torch.equal(graph.pos, tile.graph.pos) and torch.equal(graph.edge_index, tile.graph.edge_index)
        assert np.array_equal(bare.image(index), tile.image)  # both are there for who asks


def test_tiles_batch_and_labels_count_within_each(tmp_path: Path) -> None:
    tiles = make_tiles(3)
    (batch,) = DataLoader(GraphStore([write_unit(tmp_path, "a", tiles, SETTINGS)]), batch_size=3)
    assert batch.image.shape == (3, 3, SIZE_PX, SIZE_PX) and batch.label_map.shape == (3, SIZE_PX, SIZE_PX)
    assert batch.label_map.flatten(1).amax(1).tolist() == [1, 2, 3]
    assert batch.edge_index.tolist() == [[0, 2, 3, 5, 6, 7], [1, 3, 4, 6, 7, 8]]


def test_key_follows_the_settings_and_not_their_order(tmp_path: Path) -> None:
    assert settings_key({"a": 1, "b": [2, None]}) == settings_key({"b": [2, None], "a": 1})
    changed = {**SETTINGS, "mpp": 0.5}
    assert settings_key(SETTINGS) != settings_key(changed)
    first = write_unit(tmp_path, "a", make_tiles(1), SETTINGS)
    second = write_unit(tmp_path, "a", make_tiles(2), changed)
    assert first != second
    assert (len(GraphStore([first])), len(GraphStore([second]))) == (1, 2)


def test_a_unit_that_stands_is_not_made_again(tmp_path: Path) -> None:
    def explode() -> Iterator[GraphTile]:
        raise AssertionError("was asked for a tile")
        yield

    tiles = make_tiles(2)
    path = write_unit(tmp_path, "a", tiles, SETTINGS)
    assert write_unit(tmp_path, "a", explode(), SETTINGS) == path
    assert_holds(GraphStore([path]), tiles)


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), InputError("bad slide")], ids=repr)
def test_a_failure_among_the_tiles_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def fail() -> Iterator[GraphTile]:
        yield from make_tiles(3)
        raise error

    with pytest.raises(type(error)):
        write_unit(tmp_path, "a", fail(), SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_tiles_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    small = make_tile(1)
    small.graph.label_map = small.graph.label_map[:, :32, :32]
    with pytest.raises(ValueError, match=r"\(S, S, 3\)"):
        GraphTile(small.graph, "a", (0, 0), 1.0, small.image)
    other_size = GraphTile(small.graph, "a", (0, 0), 1.0, small.image[:32, :32])
    with pytest.raises(ValueError, match="tiles before it"):
        write_unit(tmp_path, "a", [make_tile(0), other_size], SETTINGS)
    assert list(tmp_path.iterdir()) == []


def _run_killed(work: Callable[[], None], reached: Callable[[], bool]) -> None:
    """Run ``work`` in a child process and kill it, beyond any handler, once ``reached`` is true."""
    child = FORK.Process(target=work)
    child.start()
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        assert child.is_alive()
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join()


@pytest.mark.parametrize("point", ["before the first tile", "between tiles", "before the move"])
def test_a_kill_leaves_no_unit_and_the_next_run_completes(tmp_path: Path, point: str) -> None:
    tiles, there = make_tiles(4), tmp_path / "there"
    store = tmp_path / "store"

    def wait() -> None:
        there.touch()
        time.sleep(60)

    def slowly() -> Iterator[GraphTile]:
        for count, tile in enumerate(tiles):
            if (point, count) in {("before the first tile", 0), ("between tiles", 3)}:
                wait()
            yield tile

    def work() -> None:
        if point == "before the move":
            whole_file.os.replace = lambda source, target: wait()
        write_unit(store, "a", slowly(), SETTINGS)

    _run_killed(work, there.exists)
    (leftover,) = store.iterdir()
    assert leftover.suffix == ".tmp"
    os.utime(leftover, (0, 0))
    path = write_unit(store, "a", tiles, SETTINGS)
    assert list(store.iterdir()) == [path]
    assert_holds(GraphStore([path]), tiles)


def test_a_living_writer_is_not_swept(tmp_path: Path) -> None:
    tiles, go = make_tiles(3), FORK.Event()

    def slowly() -> Iterator[GraphTile]:
        yield tiles[0]
        assert go.wait(20)
        yield from tiles[1:]

    writer = FORK.Process(target=lambda: write_unit(tmp_path, "slow", slowly(), SETTINGS))
    writer.start()
    deadline = time.monotonic() + 20
    while not (temporaries := list(tmp_path.glob(".*.tmp"))) or temporaries[0].stat().st_size == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.utime(temporaries[0], (0, 0))
    write_unit(tmp_path, "quick", tiles, SETTINGS)
    assert temporaries[0].exists()
    go.set()
    writer.join(20)
    assert_holds(GraphStore([unit_path(tmp_path, "slow", SETTINGS)]), tiles)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_file.os, "fsync", full)
    with pytest.raises(InputError) as caught:
        write_unit(tmp_path / "store", "a", make_tiles(), SETTINGS)
    message = str(caught.value)
    assert "disk is full" in message and str(tmp_path / "store") in message and "\n" not in message
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("limit_bytes", [1_000, 20_000, 100_000])
def test_writes_that_the_system_refuses_do_not_crash_hdf5(tmp_path: Path, limit_bytes: int) -> None:
    """The real thing, at several depths into the file: HDF5 itself dies of a refused write (signal 11)."""

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        try:
            write_unit(tmp_path, "a", (make_tile(seed) for seed in range(40)), SETTINGS)
        except InputError:
            raise SystemExit(7) from None

    child = FORK.Process(target=work)
    child.start()
    child.join(30)
    assert child.exitcode == 7
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_unit_is_named(tmp_path: Path) -> None:
    path = write_unit(tmp_path, "a", make_tiles(), SETTINGS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="delete it") as caught:
        GraphStore([path])
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.write_text("not HDF5")
    with pytest.raises(InputError, match="delete it"):
        GraphStore([path])
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="delete it"):
        GraphStore([path])
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        GraphStore([path])


@pytest.mark.parametrize("name", ["image", "label_map", "pos", "edge_index"])
def test_a_flipped_byte_is_told_and_not_read(tmp_path: Path, name: str) -> None:
    path = write_unit(tmp_path, "a", make_tiles(), SETTINGS)
    with h5py.File(path) as file:
        start = file[name].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start + 20] ^= 0xFF
    path.write_bytes(content)
    store = GraphStore([path])
    with pytest.raises(InputError, match="damaged"):
        store[0]


@pytest.mark.parametrize("how", ["link", "external", "table", "text"])
def test_a_unit_that_points_elsewhere_or_lies_is_told(tmp_path: Path, how: str) -> None:
    path = write_unit(tmp_path, "a", make_tiles(2), SETTINGS)
    with h5py.File(path, "r+") as file:
        if how == "link":
            del file["pos"]
            file["pos"] = h5py.ExternalLink("other.h5", "/pos")
        elif how == "external":
            del file["pos"]
            file.create_dataset("pos", (9, 2), "f4", external=[(str(tmp_path / "other"), 0, h5py.h5f.UNLIMITED)])
        elif how == "table":
            del file["vertex_ptr"]
            file.create_dataset("vertex_ptr", (2_000_000_000,), "i8")
        else:
            file.attrs["format"] = "one"
    with pytest.raises(InputError, match=path.name.replace(".", r"\.")) as caught:
        GraphStore([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_what_one_process_reads(tmp_path: Path, context: str) -> None:
    tiles = make_tiles(6)
    paths = [write_unit(tmp_path, name, tiles[start::2], SETTINGS) for start, name in enumerate("ab")]
    store = GraphStore(paths)
    alone = [store[index] for index in range(len(store))]  # the parent's handles are open when the workers fork
    loader = DataLoader(store, batch_size=1, num_workers=2, multiprocessing_context=context)
    for epoch in range(2 if context == "fork" else 1):
        together = list(loader)
        assert len(together) == len(alone), epoch
        for read, expected in zip(together, alone, strict=True):
            for name in ("pos", "edge_index", "image", "label_map"):
                assert torch.equal(read[name], expected[name])
    assert_holds(store, tiles[0::2] + tiles[1::2])


def test_pickles_after_reading_and_keeps_few_files_open(tmp_path: Path) -> None:
    tiles = [make_tile(seed) for seed in range(70)]
    store = GraphStore([write_unit(tmp_path, f"{seed}", [tile], SETTINGS) for seed, tile in enumerate(tiles)])
    assert_holds(store, tiles)
    opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]
    assert sum(target.startswith(str(tmp_path)) for target in opened) <= 64
    assert_holds(pickle.loads(pickle.dumps(store)), tiles)


def _is_link(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")
