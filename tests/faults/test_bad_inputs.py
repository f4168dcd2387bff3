"""Whatever is bad is named in one line before any training, and leaves what is good alone, in every workflow.

All bad rows stand in one manifest, among good ones, and each workflow prepares that cohort once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_GRAPHS, BAD_IMAGES, BAD_TABLES, Models, write_features_file, write_graphs_file
from bad_inputs import write_tiff as write_slide

from hmgdm_monai.errors import InputError

# The last of the good images has a name as long as file systems allow.
NAMES = ("s0", "s1", "s2", "s" * 240)
GOOD = len(NAMES)
HEADER = ("image", "patient", "label", "time", "event", "fold", "mpp", "features", "coords", "regions", "graphs")


class Prepared(NamedTuple):
    """What a workflow said about its cohort: lines about what it left out, and the rows that it uses."""

    lines: list[str]
    used: set[str]


Prepare = Callable[[Path, Path, Models], Prepared]


def pretraining(manifest: Path, folder: Path, models: Models) -> Prepared:
    data = _pretraining_data(manifest, folder, models)
    data.prepare()
    return _of_cohort(data.cohort)


def dirl(manifest: Path, folder: Path, models: Models) -> Prepared:
    from hmgdm_monai.tasks.pretraining.image_data import ImageData
    from hmgdm_monai.transforms.build_prior import build_prior

    data = ImageData(_pretraining_data(manifest, folder, models), build_prior("superpixels", None, "instances", 80))
    data.prepare()
    assert len(data.regions) == len(data.tiles.cohort.tile_rows)
    return _of_cohort(data.tiles.cohort)


def classify(manifest: Path, folder: Path, models: Models) -> Prepared:
    from hmgdm_monai.tasks.tiles.data import ClassificationData, PretrainedFile

    data = ClassificationData(manifest, folder, PretrainedFile(models.encoder))
    data.prepare()
    assert len(data.embeddings) == len(data.tiles)
    return _of_cohort(data.cohort)


def inference(manifest: Path, folder: Path, models: Models) -> Prepared:
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.tasks.inference.embed import embed_slides

    found = embed_slides(load_encoder(models.encoder), manifest, folder, progress=False)
    return Prepared([f"{what}: {why}" for what, why in found.skipped.items()], set(found.slides))


def evaluate(manifest: Path, folder: Path, models: Models) -> Prepared:
    from hmgdm_monai.saving.classifier_file import load_classifier
    from hmgdm_monai.tasks.tiles.evaluation import ClassifierEvaluation

    data = ClassifierEvaluation(load_classifier(models.classifier), manifest, folder)
    for row in data.rows:
        data.classify(row, data.classifier.network)
    return Prepared([f"{what}: {why}" for what, why in data.skipped.items()], {row.id for row, *_ in data._found})


def survival(manifest: Path, folder: Path, models: Models) -> Prepared:
    from hmgdm_monai.tasks.patients.data import PatientData
    from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget
    from hmgdm_monai.transforms.tile_graph import TileGraph

    data = PatientData(manifest, [SurvivalTarget()], features_dir=folder, graph=TileGraph(spatial_k=2, feature_k=0))
    data.folds(2, seed=0)
    for bag in data.bags:  # nothing is left to fail in training
        assert np.isfinite(bag.x).all() and bag.edge_index.shape[0] == 2
    lines = [f"{what}: {why}" for what, why in data.skipped.items()]
    return Prepared(lines, {path.stem for patient in data.patients for (path,) in patient.features})


def graphs(manifest: Path, folder: Path, models: Models) -> Prepared:
    from hmgdm_monai.preparation.given_graphs import build_given_graphs

    return _of_cohort(build_given_graphs(manifest, folder, progress=False))


OF_IMAGES: dict[str, Prepare] = {
    "pretraining": pretraining,
    "dirl": dirl,
    "classify": classify,
    "inference": inference,
    "evaluate": evaluate,
}
OF_TABLES: dict[str, Prepare] = {**OF_IMAGES, "survival": survival, "graphs": graphs}


def _pretraining_data(manifest: Path, folder: Path, models: Models) -> Any:
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.saving.encoder_file import load_encoder
    from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData

    return PretrainingData(manifest, folder, recipe_of(load_encoder(models.encoder).run_settings))


def _of_cohort(cohort: Any) -> Prepared:
    return Prepared([f"{what}: {why}" for what, why in cohort.skipped], {row.id for row in cohort.tile_rows})


def write_cohort(folder: Path, good: list[dict[str, str]], bad: list[dict[str, str]]) -> Path:
    """A manifest of all rows; bad row n is in line ``len(good) + 2 + n`` and has its files in the folder ``bad_n``."""
    rows = [",".join(HEADER)]
    for row in good + bad:
        rows.append(",".join(row.get(name, "") for name in HEADER))
    path = folder / "m.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def bad_rows(folder: Path, made: list[Callable[[Path], dict[str, str]]], **common: str) -> list[dict[str, str]]:
    rows = []
    for number, make in enumerate(made):
        inner = folder / f"bad_{number}"
        inner.mkdir()
        files = ("image", "features", "coords", "regions", "graphs")
        cells = {name: f"{inner.name}/{text}" if name in files else text for name, text in make(inner).items()}
        rows.append({"patient": f"bad {number}", **common, **cells})
    return rows


def lines_about(prepared: Prepared, number: int, good: int) -> list[str]:
    names = (f"bad_{number}/", f"bad_{number}:", f"line {good + 2 + number}: ")
    return [line for line in prepared.lines if any(name in line for name in names)]


def check_line(prepared: Prepared, number: int, good: int, told: str) -> None:
    lines = [line for line in lines_about(prepared, number, good) if "none of its slides" not in line]
    assert len(lines) == 1, lines
    assert told in lines[0] and "\n" not in lines[0] and len(lines[0]) < 800
    assert not any(f"bad_{number}/" in name for name in prepared.used)


@pytest.fixture(scope="module")
def of_images(
    models: Models, stained: Callable[[int, int], np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Prepared]:
    """Function workflow -> what it said about the cohort with all bad images."""
    folder, picture = tmp_path_factory.mktemp("images"), stained(128, 128)
    good = []
    for number, name in enumerate(NAMES):
        write_slide(folder / f"{name}.tif", picture)
        good.append({"image": f"{name}.tif", "patient": f"p{number}", "label": "ab"[number % 2]})
    makers = [lambda inner, bad=bad: bad.make(inner, picture) for bad in BAD_IMAGES]
    manifest = write_cohort(folder, good, bad_rows(folder, makers, label="a"))
    found: dict[str, Prepared] = {}

    def prepared(name: str) -> Prepared:
        if name not in found:
            found[name] = OF_IMAGES[name](manifest, folder / "out" / name, models)
        return found[name]

    return prepared


@pytest.mark.parametrize("workflow", OF_IMAGES)
@pytest.mark.parametrize("number", range(len(BAD_IMAGES)), ids=[bad.kind for bad in BAD_IMAGES])
def test_a_bad_image_is_left_out_in_one_line(workflow: str, number: int, of_images: Callable[[str], Prepared]) -> None:
    check_line(of_images(workflow), number, GOOD, BAD_IMAGES[number].told)


@pytest.mark.parametrize("workflow", OF_IMAGES)
def test_all_good_images_are_used(workflow: str, of_images: Callable[[str], Prepared]) -> None:
    assert of_images(workflow).used == set(NAMES)


@pytest.fixture(scope="module")
def of_features(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("features")
    outcome = {"time": "9", "event": "1"}
    good = []
    for number in range(len(BAD_FEATURES)):
        write_features_file(folder / f"s{number}.h5")
        cells = {"image": f"s{number}.h5", "features": f"s{number}.h5", "patient": f"p{number}", **outcome}
        good.append(cells | {"event": str(number % 2), "time": str(9 - number % 2)})
    makers = [make for _, make, _ in BAD_FEATURES]
    bad = bad_rows(folder, makers, **outcome)
    for number, row in enumerate(bad):
        write_features_file(folder / f"bad_{number}" / "bad_image.h5")
        row["image"] = f"bad_{number}/bad_image.h5"
        row.setdefault("features", row["image"])
    return survival(write_cohort(folder, good, bad), folder / "out", models)


@pytest.mark.parametrize("number", range(len(BAD_FEATURES)), ids=[kind for kind, *_ in BAD_FEATURES])
def test_bad_features_are_left_out_in_one_line(number: int, of_features: Prepared) -> None:
    check_line(of_features, number, len(BAD_FEATURES), BAD_FEATURES[number][2])


def test_all_good_features_are_used(of_features: Prepared) -> None:
    assert of_features.used == {f"s{number}" for number in range(len(BAD_FEATURES))}


@pytest.fixture(scope="module")
def of_graphs(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("graphs")
    for number in range(GOOD):
        write_graphs_file(folder / f"s{number}.npz")
    good = [{"graphs": f"s{number}.npz", "patient": f"p{number}"} for number in range(GOOD)]
    bad = bad_rows(folder, [lambda inner, make=make: {"graphs": make(inner).name} for _, make, _ in BAD_GRAPHS])
    return graphs(write_cohort(folder, good, bad), folder / "out", models)


@pytest.mark.parametrize("number", range(len(BAD_GRAPHS)), ids=[kind for kind, *_ in BAD_GRAPHS])
def test_bad_graphs_are_left_out_in_one_line(number: int, of_graphs: Prepared) -> None:
    check_line(of_graphs, number, GOOD, BAD_GRAPHS[number][2])
    assert of_graphs.used == {f"s{number}" for number in range(GOOD)}


@pytest.mark.parametrize("workflow", OF_TABLES)
@pytest.mark.parametrize(("damage", "told"), [bad[1:] for bad in BAD_TABLES], ids=[bad[0] for bad in BAD_TABLES])
def test_a_bad_table_is_refused_and_nothing_is_written(
    workflow: str, damage: Callable[[bytes], bytes], told: str, models: Models, tmp_path: Path
) -> None:
    rows = [f"s{number}.png,P{number},{'ab'[number % 2]},{9 - number % 2},{number % 2}" for number in range(6)]
    for number in range(6):
        (tmp_path / f"s{number}.png").write_bytes(b"a")
    sound = "\n".join(["image,patient,label,time,event", *rows]) + "\n"
    path = tmp_path / "m.csv"
    path.write_bytes(damage(sound.encode()))
    with pytest.raises(InputError) as caught:
        OF_TABLES[workflow](path, tmp_path / "out", models)
    first = str(caught.value).splitlines()[0]
    assert told in first and path.name in first
    assert not (tmp_path / "out").exists()
