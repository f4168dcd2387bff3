"""Bad inputs as data: what is wrong with them, how they are made, and what the line about them must name."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import tifffile
from PIL import Image

Cells = dict[str, str]


class Models(NamedTuple):
    """Model files in miniature, of tiles of 64 px at 0.5 um and of the classes a and b."""

    encoder: Path
    classifier: Path


@dataclass(frozen=True)
class BadImage:
    """A row of the manifest that cannot be used, beside good ones.

    Attributes:
        kind: what is wrong.
        make: (folder, picture) -> cells of the row; it writes the files.
        told: text that the line about it holds.
    """

    kind: str
    make: Callable[[Path, np.ndarray], Cells]
    told: str


def write_tiff(path: Path, picture: np.ndarray, **options: Any) -> Path:
    given = {"photometric": "rgb", "tile": (64, 64), "compression": "jpeg", "metadata": None}
    given |= {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER", **options}
    tifffile.imwrite(path, picture, **given)
    return path


def _spoil(path: Path, picture: np.ndarray, how: bytes, **options: Any) -> Path:
    """A TIFF whose second tile has other bytes."""
    write_tiff(path, picture, **options)
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[1], tif.pages[0].databytecounts[1]
    content = bytearray(path.read_bytes())
    content[start : start + count] = (how * count)[:count]
    path.write_bytes(content)
    return path


def _cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def _text(path: Path, content: bytes = b"this is no image\n") -> Path:
    path.write_bytes(content)
    return path


def _image(path: Path, picture: np.ndarray, **options: Any) -> Path:
    Image.fromarray(picture).save(path, **options)
    return path


def _bomb(path: Path, side: int = 20_000) -> Path:
    """A PNG of some kilobytes that declares side x side pixels."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return _text(path, b"\x89PNG\r\n\x1a\n" + parts)


def _coords(path: Path, values: Any, side: Any = 64) -> Path:
    with h5py.File(path, "w") as file:
        file["coords"] = values
        file["coords"].attrs["patch_size_level0"] = side
    return path


def _with(name: str, column: str, make: Callable[[Path], Path]) -> Callable[[Path, np.ndarray], Cells]:
    """A sound slide with a bad file in another column."""
    return lambda folder, picture: {
        "image": write_tiff(folder / f"{name}.tif", picture).name,
        column: make(folder / f"{name}_{column}").name,
    }


def _cells(name: str, **cells: str) -> Callable[[Path, np.ndarray], Cells]:
    """A sound slide with bad cells in the table."""
    return lambda folder, picture: {"image": write_tiff(folder / f"{name}.tif", picture).name, **cells}


def _of(make: Callable[[Path, np.ndarray], Path]) -> Callable[[Path, np.ndarray], Cells]:
    return lambda folder, picture: {"image": make(folder, picture).name}


LONG = "x" * 5000
BAD_IMAGES = (
    BadImage("empty file", _of(lambda f, p: _text(f / "bad.png", b"")), "empty"),
    BadImage("text called PNG", _of(lambda f, p: _text(f / "bad.png")), "not readable"),
    BadImage("text called SVS", _of(lambda f, p: _text(f / "bad.svs")), "not readable"),
    BadImage("cut JPEG", _of(lambda f, p: _cut(_image(f / "bad.jpg", p), 0.6)), "damaged"),
    BadImage("cut PNG", _of(lambda f, p: _cut(_image(f / "bad.png", p), 0.6)), "not readable"),
    BadImage("cut TIFF", _of(lambda f, p: _cut(write_tiff(f / "bad.tif", p), 0.6)), "truncated"),
    BadImage("zeros in a JPEG tile", _of(lambda f, p: _spoil(f / "bad.tif", p, b"\0")), "damaged"),
    BadImage(
        "noise in an LZW tile",
        _of(lambda f, p: _spoil(f / "bad.tif", p, b"\xff\x13\x77", compression="lzw")),
        "damaged",
    ),
    BadImage("decompression bomb", _of(lambda f, p: _bomb(f / "bad.png")), "decompression bomb"),
    BadImage("pixels not square", _of(lambda f, p: write_tiff(f / "bad.tif", p, resolution=(2e4, 1e4))), "not square"),
    BadImage("no scale", _of(lambda f, p: write_tiff(f / "bad.tif", p, resolution=None)), "microns per pixel unknown"),
    BadImage(
        "floating point", _of(lambda f, p: write_tiff(f / "bad.tif", p.astype("f4"), compression=None)), "float32"
    ),
    BadImage("glass alone", _of(lambda f, p: write_tiff(f / "bad.tif", np.full_like(p, 255))), "no tissue"),
    BadImage("magnification as scale", _cells("bad", mpp="40"), "magnification"),
    BadImage("no such file", lambda f, p: {"image": "gone.svs"}, "not found"),
    BadImage("folder", lambda f, p: {"image": (f / "bad.svs").mkdir() or "bad.svs"}, "not found"),
    BadImage("dangling link", lambda f, p: {"image": os.symlink("gone", f / "bad.svs") or "bad.svs"}, "not found"),
    BadImage("path of 5,000 characters", lambda f, p: {"image": f"{LONG}.svs"}, "not found"),
    BadImage("patient of 5,000 characters", _cells("bad", patient=LONG), "patient has 5000 characters"),
    BadImage("label of 5,000 characters", _cells("bad", label=LONG), "label has 5000 characters"),
    BadImage("no patient", _cells("bad", patient="NA"), "patient is empty"),
    BadImage("scale in words", _cells("bad", mpp="half a micron"), "mpp must be"),
    BadImage("fold in words", _cells("bad", fold="one"), "fold must be"),
    BadImage("coordinates that are text", _with("bad", "coords", lambda p: _text(p)), "not an HDF5 file"),
    BadImage("coordinates that are words", _with("bad", "coords", lambda p: _coords(p, [b"a", b"b"])), "not numbers"),
    BadImage("no coordinates", _with("bad", "coords", lambda p: _coords(p, np.zeros((0, 2)))), "no tile"),
    BadImage("coordinates of NaN", _with("bad", "coords", lambda p: _coords(p, [[np.nan, 0]])), "not finite"),
    BadImage("coordinates elsewhere", _with("bad", "coords", lambda p: _coords(p, [[9999, 0]])), "lie outside"),
    BadImage("tiles of no size", _with("bad", "coords", lambda p: _coords(p, [[0, 0]], np.nan)), "size of its tiles"),
    BadImage("tiles of another size", _with("bad", "coords", lambda p: _coords(p, [[0, 0]], 1e9)), "um wide"),
    BadImage("regions that are text", _with("bad", "regions", lambda p: _text(p)), "not GeoJSON"),
    BadImage("regions without one", _with("bad", "regions", lambda p: _text(p, b"[]")), "no polygon"),
)


def _features(folder: Path, values: Any, coords: Any = None, name: str = "features", **options: Any) -> Cells:
    path = folder / "bad.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=values, **options)
        if coords is not None:
            file["coords"] = coords
    return {"features": path.name}


def _damaged_chunk(folder: Path) -> Cells:
    values = np.random.default_rng(0).normal(size=(32, 4))
    cells = _features(folder, values, chunks=(16, 4), compression="gzip")
    with h5py.File(folder / "bad.h5") as file:
        start = file["features"].id.get_chunk_info(1).byte_offset
    content = bytearray((folder / "bad.h5").read_bytes())
    content[start + 10 : start + 60] = b"\xff" * 50
    (folder / "bad.h5").write_bytes(content)
    return cells


def _external(folder: Path) -> Cells:
    with h5py.File(folder / "bad.h5", "w") as file:
        file.create_dataset("features", (4, 4), "u1", external=[("/etc/hostname", 0, 16)])
    return {"features": "bad.h5"}


def _declared(folder: Path) -> Cells:
    with h5py.File(folder / "bad.h5", "w") as file:
        file.create_dataset("features", (10**9, 4), "f4", chunks=(1000, 4))
    return {"features": "bad.h5"}


def _linked(folder: Path) -> Cells:
    with h5py.File(folder / "bad.h5", "w") as file:
        file["features"] = h5py.ExternalLink("s0.h5", "features")
    return {"features": "bad.h5"}


def _group(folder: Path) -> Cells:
    with h5py.File(folder / "bad.h5", "w") as file:
        file.create_group("features")
    return {"features": "bad.h5"}


# A features file that cannot be used: (kind, folder -> cells of its row, text that the line holds).
BAD_FEATURES: tuple[tuple[str, Callable[[Path], Cells], str], ...] = (
    ("strings", lambda f: _features(f, [b"a", b"b"]), "at least one tile, not"),
    ("words", lambda f: _features(f, [[b"a", b"b"]]), "not numbers but text"),
    ("opaque", lambda f: _features(f, np.zeros((2, 2), "V4")), "not numbers"),
    ("damaged chunk", _damaged_chunk, "damaged"),
    ("NaN", lambda f: _features(f, [[0, np.nan, 0, 0]]), "not finite"),
    ("infinite in half precision", lambda f: _features(f, np.array([[np.inf] * 4], "f2")), "not finite"),
    ("too large for float32", lambda f: _features(f, [[1e300] * 4]), "not finite"),
    ("no tile", lambda f: _features(f, np.zeros((0, 4))), "at least one tile"),
    ("three axes", lambda f: _features(f, np.zeros((2, 3, 4))), "tiles x channels"),
    ("another name", lambda f: _features(f, np.zeros((2, 4)), name="embeddings"), "no data set `features`"),
    ("a group", _group, "no data set `features`"),
    ("other channels", lambda f: _features(f, np.zeros((2, 9)), np.zeros((2, 2))), "9 channels, but most have 4"),
    ("no coordinates", lambda f: _features(f, np.zeros((2, 4))), "has no coords"),
    ("coordinates of another length", lambda f: _features(f, np.zeros((2, 4)), np.zeros((3, 2))), "do not fit"),
    ("values in a file of the system", _external, "lie in other files"),
    ("a link to another file", _linked, "links are not followed"),
    ("8 GB declared", _declared, "declare 16 GB"),
    ("text called HDF5", lambda f: {"features": _text(f / "bad.h5").name}, "not an HDF5 file"),
    ("empty file", lambda f: {"features": _text(f / "bad.h5", b"").name}, "not an HDF5 file"),
    ("no such file", lambda f: {"features": "gone.h5"}, "not found"),
    ("time 0", lambda f: {"time": "0"}, "time must be"),
    ("no outcome", lambda f: {"time": "NA", "event": "#N/A"}, "has no time and no event"),
    ("patient of 5,000 characters", lambda f: {"patient": LONG}, "patient has 5000 characters"),
)


def write_features_file(path: Path) -> Path:
    """Two tiles of four channels, with coordinates."""
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = np.arange(8.0).reshape(2, 4), np.arange(4).reshape(2, 2)
    return path


def write_graphs_file(path: Path, channels: int = 4, **arrays: Any) -> Path:
    """A graph of three vertices as NPZ."""
    sound: dict[str, Any] = {"x": np.ones((3, channels)), "pos": np.eye(3, 2), "edge_index": [[0, 1], [1, 2]]}
    np.savez(path, **{name: value for name, value in (sound | arrays).items() if value is not None})
    return path


def _pickled(path: Path) -> Path:
    import torch

    torch.save([print], path)
    return path


# A file of graphs that cannot be used: (kind, folder -> its path, text that the line holds).
BAD_GRAPHS: tuple[tuple[str, Callable[[Path], Path], str], ...] = (
    ("text", lambda f: _text(f / "bad.npz"), "not a readable NPZ"),
    ("cut", lambda f: _cut(write_graphs_file(f / "bad.npz"), 0.5), "not a readable NPZ"),
    ("no edges named", lambda f: write_graphs_file(f / "bad.npz", edge_index=None), "lacks edge_index"),
    ("NaN", lambda f: write_graphs_file(f / "bad.npz", x=np.full((3, 4), np.nan)), "NaN"),
    ("a vertex that is not there", lambda f: write_graphs_file(f / "bad.npz", edge_index=[[0], [7]]), "names vertices"),
    ("other channels", lambda f: write_graphs_file(f / "bad.npz", 9), "9 numbers per vertex, but most have 4"),
    ("objects", lambda f: write_graphs_file(f / "bad.npz", x=np.array([{}, {}, {}])), "not a readable NPZ"),
    ("code", lambda f: _pickled(f / "bad.pt"), "may run code"),
    ("another format", lambda f: _text(f / "bad.gexf"), "convert it"),
)

# A table that cannot be used at all: (kind, bytes of the sound table -> bytes, text that the line holds).
BAD_TABLES: tuple[tuple[str, Callable[[bytes], bytes], str], ...] = (
    ("empty", lambda table: b"", "is empty"),
    ("blank lines", lambda table: b"\n\n,,\n", "is empty"),
    ("UTF-16", lambda table: table.decode().encode("utf-16"), "UTF-16"),
    ("UTF-32", lambda table: table.decode().encode("utf-32"), "UTF-32"),
    ("Latin-1", lambda table: table + "x.tif,M\u00fcller".encode("latin-1"), "Latin-1"),
    ("workbook", lambda table: b"PK\x03\x04" + table, "a workbook"),
    ("semicolons", lambda table: table.replace(b",", b";"), "missing; existing columns are"),
    ("header alone", lambda table: table.splitlines()[0], "no row"),
    ("no column patient", lambda table: table.replace(b"patient", b"case"), "'patient' missing"),
    ("two columns image", lambda table: table.replace(b"label", b"image"), "occurs twice"),
    ("open quote", lambda table: table + b'"', "not a CSV"),
)
