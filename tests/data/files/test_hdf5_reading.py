"""HDF5 files that are damaged, lie about their size, or point elsewhere: one line each, and nothing allocated."""

from __future__ import annotations

import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hmgdm_monai.data.files.features_file import features_shape, read_features
from hmgdm_monai.data.files.hdf5_reading import (
    checked_dataset,
    opened_hdf5,
    read_attributes,
    read_numbers,
    write_attributes,
)
from hmgdm_monai.data.files.tile_embeddings_file import read_tile_embeddings
from hmgdm_monai.data.tiles.coords_file import read_coords
from hmgdm_monai.errors import InputError

ROWS, COLUMNS = 32, 8


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def _told(path, reader) -> str:
    with pytest.raises(InputError) as caught:
        reader(path)
    text = str(caught.value)
    assert "\n" not in text and str(path) in text
    return text


def test_sound_files_of_every_layout_are_read(tmp_path, values, monkeypatch):
    monkeypatch.setattr("hmgdm_monai.data.files.hdf5_reading.FREE_BYTES", 100_000)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["plain"] = values
        file.create_dataset("chunked", data=values, chunks=(5, 3), maxshape=(None, None))
        file.create_dataset("packed", data=values, chunks=(16, 8), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("empty", shape=(0, 8), maxshape=(None, 8), chunks=(4, 8))
        file.create_dataset("zeros", data=np.zeros((1000, 1000), np.int64), chunks=(500, 500), compression="gzip")
    with opened_hdf5(path, "file", "mend it") as file:
        for name in ("plain", "chunked", "packed"):
            np.testing.assert_array_equal(read_numbers(checked_dataset(file, name), name), values)
        assert read_numbers(checked_dataset(file, "empty"), "empty").shape == (0, 8)
        assert checked_dataset(file, "none") is None
        with pytest.raises(InputError, match="zeros declare 8 MB in a file of"):  # it is a bomb, although all is there
            read_numbers(checked_dataset(file, "zeros"), "zeros")


DECLARED = {
    "contiguous": {},
    "chunked": {"chunks": (1000, 1000)},
    "packed": {"chunks": (1000, 1000), "compression": "gzip"},
    "one large chunk": {"shape": (ROWS, COLUMNS), "maxshape": (None, None), "chunks": (16_000, 16_000)},
}


@pytest.mark.parametrize("layout", DECLARED)
def test_more_declared_than_the_file_can_hold_is_told_before_it_is_allocated(tmp_path, layout):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("features", **{"shape": (1_000_000, 2000), "dtype": "f4", **DECLARED[layout]})
    assert path.stat().st_size < 10_000
    told = _told(path, read_features)
    assert ("features declare 1.02 GB" if "large" in layout else "features declare 8 GB") in told
    assert "at most 67" in told
    assert _told(path, features_shape) == told
    code = "import sys; from hmgdm_monai.data.files.features_file import read_features; read_features(sys.argv[1])"
    limit = (4 * 2**30, 4 * 2**30)  # of address space: eight gigabytes do not fit
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)},
    )
    assert "InputError" in done.stderr and "MemoryError" not in done.stderr


@pytest.mark.parametrize("chunks", [None, (8, 8)])
def test_values_that_were_never_written_are_told(tmp_path, values, chunks):
    """HDF5 would give zeros for them."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        found = file.create_dataset("features", (ROWS, COLUMNS), "f4", chunks=chunks)
        if chunks:
            found[:8] = values[:8]
    assert "features were not written completely" in _told(path, read_features)


@pytest.mark.parametrize("reader", [read_features, read_coords, read_tile_embeddings])
@pytest.mark.parametrize("how", ["soft", "dangling", "external link", "external values", "virtual"])
def test_links_and_values_in_other_files_are_refused(tmp_path, values, reader, how):
    """With external storage any file of the system could be read as features."""
    path, other = tmp_path / "a.h5", tmp_path / "other.h5"
    name = "coords" if reader is read_coords else "features"
    other.write_bytes(values.tobytes())
    with h5py.File(path, "w") as file:
        file["elsewhere"] = values
        file["ids"] = [str(row) for row in range(ROWS)]
        if how == "soft":
            file[name] = h5py.SoftLink("/elsewhere")
        elif how == "dangling":
            file[name] = h5py.SoftLink("/nowhere")
        elif how == "external link":
            file[name] = h5py.ExternalLink(str(other), "/features")
        elif how == "external values":
            file.create_dataset(name, values.shape, "f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)])
        else:
            layout = h5py.VirtualLayout(values.shape, "f4")
            layout[:] = h5py.VirtualSource(str(other), "features", values.shape)
            file.create_virtual_dataset(name, layout)
    told = _told(path, reader)
    assert "links are not followed" in told or "lie in other files" in told


KINDS = {
    "text": np.array([["a", "b"]] * 3, dtype=h5py.string_dtype()),
    "fixed text": np.array([[b"a", b"b"]] * 3),
    "compound": np.zeros((3, 2), [("x", "f4"), ("y", "f4")]),
    "opaque": np.zeros((3, 2), "V8"),
    "complex": np.ones((3, 2), np.complex64),
    "dates": np.zeros((3, 2), "M8[s]").astype(h5py.opaque_dtype("M8[s]")),
}


@pytest.mark.parametrize("reader", [read_features, read_coords])
@pytest.mark.parametrize("kind", KINDS)
def test_what_are_no_numbers_is_told(tmp_path, reader, kind):
    name = "coords" if reader is read_coords else "features"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[name] = KINDS[kind]
    assert f"{name} are not numbers but" in _told(tmp_path / "a.h5", reader)


def test_damage_anywhere_is_one_line(tmp_path, values):
    """Whatever bytes are spoilt: the values as they were, or one line."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=values, chunks=(16, 8), compression="gzip", fletcher32=True)
        file["coords"] = np.arange(2 * ROWS).reshape(ROWS, 2)
        file.attrs["encoder"] = "abc"
        file["features"].attrs["mpp"] = 0.5
    whole = path.read_bytes()
    draw = np.random.default_rng(1)
    told = 0
    for _ in range(150):
        content = bytearray(whole)
        start, length = int(draw.integers(len(whole))), int(draw.integers(1, 60))
        content[start : start + length] = draw.bytes(len(content[start : start + length]))
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(read_features(path).features, values)
        except InputError as error:
            assert "\n" not in str(error)
            told += 1
    assert told > 20


def test_attributes_are_plain_and_texts_of_variable_length_are_left_out(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update({"a": np.float32(0.5), "b": "text", "c": np.bytes_(b"\xb5m"), "d": [1, 2]})
        write_attributes(file, {"e": "µm", "f": 3})
    with opened_hdf5(tmp_path / "a.h5", "file", "mend it") as file:
        found = read_attributes(file)
    assert found.pop("d").tolist() == [1, 2]
    assert found == {"a": 0.5, "c": "\ufffdm", "e": "µm", "f": 3}


def test_a_damaged_heap_of_texts_does_not_hang_the_reader(tmp_path, values):
    """HDF5 itself never returns from reading this attribute."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = values, np.arange(2 * ROWS).reshape(ROWS, 2) * 256
        file["coords"].attrs["patch_size_level0"] = 256
        file.attrs["name"] = "slide"
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 48] = bytes(32)  # no text, and free space of no size
    path.write_bytes(content)
    np.testing.assert_array_equal(read_features(path).features, values)
    assert len(read_coords(path).locations_px) == ROWS
