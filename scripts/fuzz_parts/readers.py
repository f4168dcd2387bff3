"""The readers of files that others made: sound files to start from, and what is done with each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_parts.mutations import mutate, mutate_json

Damage = Callable[[Path, Path, int], None]  # (sound file, file to write, seed)


@dataclass(frozen=True)
class Reader:
    """One kind of files.

    Attributes:
        make: writes sound files into a folder and returns their paths.
        read: reads a file as the program does.
        damage: writes a damaged copy.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]
    damage: Damage


def _bytes(source: Path, target: Path, seed: int) -> None:
    target.write_bytes(mutate(source.read_bytes(), seed))


def _text(source: Path, target: Path, seed: int) -> None:
    target.write_bytes(mutate(source.read_bytes(), seed, text=True))


def _picture(side: int) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    noise = np.random.default_rng(0).integers(0, 40, (side, side, 3))
    tone = np.stack([150 + columns % 60, 60 + rows % 80, 140 + (rows + columns) % 50], -1)
    return (tone + noise).clip(0, 255).astype(np.uint8)


def _slides(folder: Path) -> list[Path]:
    import tifffile

    pixels = _picture(128)
    shared: dict[str, Any] = {"photometric": "rgb", "metadata": None, "resolutionunit": "CENTIMETER"}
    fine = {**shared, "resolution": (2e4, 2e4)}
    aperio = "Aperio Image Library v12.0.15\r\n128x128 [0,0,128x128] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"
    kinds: dict[str, dict[str, Any]] = {
        "jpeg.tif": {"tile": (64, 64), "compression": "jpeg"},
        "aperio.svs": {"tile": (64, 64), "compression": "jpeg", "description": aperio},
        "lzw.tif": {"tile": (64, 64), "compression": "lzw", "predictor": True},
        "strips.tif": {"rowsperstrip": 32, "compression": "zlib"},
        "raw.tif": {"tile": (64, 64), "bigtiff": True},
        "planes.tif": {"tile": (64, 64), "planarconfig": "separate"},
    }
    for name, options in kinds.items():
        page = pixels.transpose(2, 0, 1) if "planarconfig" in options else pixels
        big = options.pop("bigtiff", False)
        tifffile.imwrite(folder / name, page, bigtiff=big, **fine, **options)
    with tifffile.TiffWriter(folder / "pyramid.tif") as writer:
        for level in (1, 2, 4):
            part = {**shared, "resolution": (2e4 / level, 2e4 / level)}
            writer.write(
                pixels[::level, ::level], subfiletype=int(level > 1), tile=(32, 32), compression="jpeg", **part
            )
    about = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(folder / "a.ome.tif", pixels, ome=True, photometric="rgb", tile=(64, 64), metadata=about)
    return [folder / name for name in (*kinds, "pyramid.tif", "a.ome.tif")]


def _images(folder: Path) -> list[Path]:
    from PIL import Image

    image = Image.fromarray(_picture(64))
    paths = [folder / name for name in ("a.png", "a.jpg", "palette.png", "a.webp", "a.jp2", "a.bmp")]
    for path in paths:
        (image.quantize(16) if path.stem == "palette" else image).save(path)
    return paths


def _read_image(path: Path) -> None:
    from hmgdm_monai.data.slides.slide import open_slide
    from hmgdm_monai.data.tiles.tiling import TileSpec, tile_locations

    slide = open_slide(path)
    try:
        mpp = 1.0 if slide.mpp is not None or slide.backend == "image" else None
        slide.thumbnail(64)
        slide.read_region(5, 5, 48, 48, mpp)
        if mpp is not None:
            where = tile_locations(slide, TileSpec(32, 1.0))
            slide.read_regions(where[:4], 32, 1.0)
    finally:
        slide.close()


def _features(folder: Path) -> list[Path]:
    import h5py

    values = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    layouts: dict[str, dict[str, Any]] = {
        "plain.h5": {},
        "packed.h5": {"chunks": (16, 6), "compression": "gzip", "shuffle": True},
        "growing.h5": {"chunks": (16, 6), "maxshape": (None, 6)},
    }
    for name, options in layouts.items():
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("features", data=values, **options)
            file["coords"] = np.arange(80).reshape(40, 2) * 256
            file["coords"].attrs.update({"patch_size": 256, "patch_level": 0, "name": "slide"})
            file.attrs.update({"mpp": 0.5, "name": "slide"})
    return [folder / name for name in layouts]


def _read_features(path: Path) -> None:
    from hmgdm_monai.data.files.features_file import features_shape, read_features
    from hmgdm_monai.data.tiles.coords_file import read_coords

    _each(path, read_features, features_shape, read_coords)


def _geojson(folder: Path) -> list[Path]:
    def box(x: float, y: float, side: float) -> list[list[list[float]]]:
        return [[[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]]

    def feature(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
        return {
            "type": "Feature",
            "id": "PathCellObject",
            "geometry": {"type": kind, "coordinates": coordinates},
            "properties": properties,
        }

    features = [
        feature("Polygon", box(10, 10, 200), objectType="annotation", classification={"name": "Tumor"}),
        feature("MultiPolygon", [box(5, 5, 20), box(40.5, 40.5, 9)], objectType="cell", measurements={"area": 4.5}),
        feature("Polygon", box(60, 60, 12), object_type="cell", measurements=[{"name": "a", "value": 2}]),
        feature("Point", [1, 2]),
    ]
    (folder / "list.geojson").write_text(json.dumps(features))
    (folder / "collection.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return [folder / "list.geojson", folder / "collection.geojson"]


def _read_geojson(path: Path) -> None:
    from hmgdm_monai.data.tiles.cell_maps import open_cell_map
    from hmgdm_monai.data.tiles.regions import tiles_in_regions

    def cells(file: Path) -> None:
        found = open_cell_map(file, (256, 256), ["Tumor"])
        found.window((0, 0), 1.0, 128)
        found.instances((3.5, -8), 0.5, 128)

    def regions(file: Path) -> None:
        tiles_in_regions(file, np.arange(32).reshape(16, 2) * 8, 32.0, (256, 256))

    _each(path, cells, regions)


def _cells(folder: Path) -> list[Path]:
    from PIL import Image

    labels = (np.arange(64 * 64).reshape(64, 64) // 97 % 5).astype(np.uint16)
    np.save(folder / "cells.npy", labels)
    Image.fromarray(labels.astype(np.uint8)).save(folder / "cells.png")
    return [folder / "cells.npy", folder / "cells.png"]


def _read_cells(path: Path) -> None:
    from hmgdm_monai.data.tiles.cell_maps import open_cell_map

    found = open_cell_map(path, (64, 64), ["a", "b"], "classes")
    found.window((-5, 0), 0.7, 64)
    found.instances((0, 3), 2.0, 64)


def _tables(folder: Path) -> list[Path]:
    rows = ["image,patient,label,time,event,fold,mpp,age,site"]
    for number in range(12):
        (folder / f"s{number}.png").touch()
        patient = number // 2
        rows.append(f"s{number}.png,P{patient},{'ab'[patient % 2]},{5 + patient},{patient % 2},0,0.5,6{number},B")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    (folder / "quoted.csv").write_text("\r\n".join(",".join(f'"{c}"' for c in row.split(",")) for row in rows))
    return [folder / "m.csv", folder / "quoted.csv"]


def _read_table(path: Path) -> None:
    from hmgdm_monai.data.manifest.columns import check_kinds, read_columns
    from hmgdm_monai.data.manifest.manifest import read_manifest
    from hmgdm_monai.data.manifest.outcomes import check_outcomes

    def clinical(file: Path) -> None:
        check_kinds(file, read_columns(file, ["age", "site"]), ["age", "site"])

    _each(path, read_manifest, lambda file: read_manifest(file, ("time", "event")).left_out, check_outcomes, clinical)


def _graphs(folder: Path) -> list[Path]:
    import torch
    from torch_geometric.data import Data

    draw = np.random.default_rng(0)
    x, pos = draw.normal(size=(9, 4)).astype(np.float32), draw.random((9, 2)).astype(np.float32)
    ends, values = draw.integers(0, 9, (2, 20)), draw.normal(size=(20, 4)).astype(np.float32)
    np.savez(folder / "a.npz", x=x, pos=pos, edge_index=ends, edge_attr=values)
    tensors = {"x": x, "pos": pos, "edge_index": ends, "edge_attr": values}
    plain = {name: torch.from_numpy(value) for name, value in tensors.items()}
    torch.save([plain, plain], folder / "plain.pt")
    torch.save([Data(**plain)], folder / "data.pt")
    return [folder / name for name in ("a.npz", "plain.pt", "data.pt")]


def _read_graphs(path: Path) -> None:
    from hmgdm_monai.data.files.graph_files import read_graphs

    read_graphs(path)


def _models(folder: Path) -> list[Path]:
    from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder
    from hmgdm_monai.losses.cox import CoxLoss
    from hmgdm_monai.networks.aggregators.build import build_aggregator
    from hmgdm_monai.saving.classifier_file import build_classifier, save_classifier
    from hmgdm_monai.saving.encoder_file import save_encoder
    from hmgdm_monai.saving.entities_file import save_entities
    from hmgdm_monai.saving.patient_file import PatientModel, save_patient_model
    from hmgdm_monai.saving.tile_encoders import build_tile_encoder

    loss = CoxLoss()
    chosen = {"name": "amil", "in_channels": 4, "settings": {"hidden_dim": 8}}
    network = build_aggregator("amil", 4, loss.num_outputs, hidden_dim=8).eval()
    about = {"fold": 0, "patients": ["a"], "graph": None}
    settings = {"aggregator": chosen, "loss": loss.settings}
    target = {"kind": "survival", "time_column": "time", "event_column": "event"}
    model = PatientModel(network, loss, settings, target, {"median_risk": 0.0}, about)
    save_patient_model(folder / "patients.pt", model)
    save_entities(folder / "entities.pt", WindowAutoencoder(window_px=8, widths=(8,), latent_channels=1))
    vit = {"vit": {"image_px": 32, "patch_px": 16, "hidden_dim": 8, "num_layers": 1, "heads": 2}, "readout": "mean"}
    encoder = build_tile_encoder("vit", vit, {"recipe": {"tile_spec": {"size_px": 32, "mpp": 1.0}}}).eval()
    save_encoder(folder / "encoder.pt", encoder)
    head = {"num_classes": 2}
    save_classifier(
        folder / "classifier.pt", build_classifier(encoder, "finetune", head), "finetune", head, "ab", [], 0
    )
    return [folder / name for name in ("patients.pt", "entities.pt", "encoder.pt", "classifier.pt")]


def _read_model(path: Path) -> None:
    from hmgdm_monai.saving.classifier_file import load_classifier
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.saving.entities_file import load_entities
    from hmgdm_monai.saving.patient_file import load_patient_model

    loaders: dict[str, Callable[[Path], Any]] = {
        "patients": load_patient_model,
        "entities": load_entities,
        "encoder": load_encoder,
        "classifier": load_classifier,
    }
    loaders[path.stem.removeprefix("damaged_")](path)


def _model(source: Path, target: Path, seed: int) -> None:
    """Change bytes or, every other time, settings in the description, with a digest that fits: whoever can write
    a model file can do that."""
    from hmgdm_monai.data.files.checkpoint_file import read_checkpoint
    from hmgdm_monai.data.files.json_tensor import json_to_tensor, tensor_to_json
    from hmgdm_monai.saving.model_file import DESCRIPTION, write_model

    if seed % 2:
        _bytes(source, target, seed)
        return
    saved = read_checkpoint(source)
    parts = [name for name in saved if name.split(".")[-1] == DESCRIPTION]
    part = parts[seed // 2 % len(parts)]
    changed = mutate_json(tensor_to_json(saved[part]), seed)
    content = tensor_to_json(saved[DESCRIPTION])["content"]
    if part == DESCRIPTION:
        about = {key: value for key, value in changed.items() if key not in ("content", "format", "sha256")}
        write_model(target, content, saved, about)
    else:
        saved[part] = json_to_tensor(changed)
        about = tensor_to_json(saved[DESCRIPTION])
        write_model(target, content, saved, {key: about[key] for key in about.keys() - {"content", "format", "sha256"}})


def _stores(folder: Path) -> list[Path]:
    from hmgdm_monai.data.stores.graph_store import GraphTile, write_unit
    from hmgdm_monai.transforms.entity_graph import build_entity_graph
    from hmgdm_monai.transforms.superpixels import Superpixels

    pixels = _picture(32)
    image = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    tiles = [
        GraphTile(build_entity_graph(image, Superpixels(6)(image)), "a", (32 * n, 0), 1.0, pixels) for n in range(2)
    ]
    return [write_unit(folder, "a", tiles, {"n_segments": 6})]


def _read_store(path: Path) -> None:
    from hmgdm_monai.data.stores.graph_store import GraphStore

    store = GraphStore([path])
    for index in range(len(store)):
        _ = store[index]


def _each(path: Path, *readers: Callable[[Path], Any]) -> None:
    """Read a file by all readers; those that refuse it do not keep the others from reading it."""
    from hmgdm_monai.errors import InputError

    refused: InputError | None = None
    for reader in readers:
        try:
            reader(path)
        except InputError as error:
            refused = refused or error
    if refused is not None:
        raise refused


READERS = {
    "slides": Reader(_slides, _read_image, _bytes),
    "images": Reader(_images, _read_image, _bytes),
    "features": Reader(_features, _read_features, _bytes),
    "geojson": Reader(_geojson, _read_geojson, _text),
    "cells": Reader(_cells, _read_cells, _bytes),
    "tables": Reader(_tables, _read_table, _text),
    "graphs": Reader(_graphs, _read_graphs, _bytes),
    "models": Reader(_models, _read_model, _model),
    "stores": Reader(_stores, _read_store, _bytes),
}
