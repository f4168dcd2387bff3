"""What can be checked without images is checked before any image is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs import write_features_file, write_tiff

from hmgdm_monai.errors import InputError

CONFIGS = Path(__file__).parents[2] / "bundle/configs"


class ImageReadError(Exception):
    """An image was opened before all checks were done."""


@pytest.fixture(autouse=True)
def no_image_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ImageReadError

    for place in ("preparation.graph_unit", "preparation.tile_stream"):
        monkeypatch.setattr(f"hmgdm_monai.{place}.open_slide", refuse)


@pytest.fixture
def slides(tmp_path: Path, stained: Callable[[int, int], np.ndarray]) -> Callable[..., Path]:
    """Function (column=cells of six rows) -> manifest of six slides of six patients."""

    def write(**columns: list[Any]) -> Path:
        cells = {
            "image": [f"s{number}.tif" for number in range(6)],
            "patient": [f"p{number}" for number in range(6)],
            "label": list("ababab"),
            **columns,
        }
        for name in cells["image"]:
            write_tiff(tmp_path / name, stained(128, 128))
        rows = [",".join(map(str, row)) for row in zip(*cells.values(), strict=True)]
        (tmp_path / "m.csv").write_text("\n".join([",".join(cells), *rows]) + "\n")
        return tmp_path / "m.csv"

    return write


@pytest.fixture(scope="module")
def patient_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A survival model of embeddings of 5 channels, trained on the patients p0 and p1."""
    from hmgdm_monai.losses.cox import CoxLoss
    from hmgdm_monai.networks.aggregators.build import build_aggregator
    from hmgdm_monai.saving.patient_file import PatientModel, save_patient_model
    from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget

    path, loss = tmp_path_factory.mktemp("survival") / "fold_0.pt", CoxLoss()
    chosen = {"name": "amil", "in_channels": 5, "settings": {"hidden_dim": 8}}
    network = build_aggregator("amil", 5, loss.num_outputs, hidden_dim=8).eval()
    settings = {"aggregator": chosen, "loss": loss.settings}
    about = {"fold": 0, "patients": ["p0", "p1"], "graph": None}
    save_patient_model(path, PatientModel(network, loss, settings, SurvivalTarget().settings, {}, about))
    return path


@pytest.mark.parametrize(
    ("config", "check", "work"),
    [
        ("train.json", "@entities", "$@data.prepare()"),
        ("inference.json", "$@report.check()", "$@evaluator.run()"),
    ],
)
def test_configs_check_before_they_work(config: str, check: str, work: str) -> None:
    content = json.loads((CONFIGS / config).read_text())
    steps = content[content["run"].removeprefix("%")]
    assert steps.index(check) < steps.index(work)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"projection_method": "pca"}, "tsne, umap"),
        ({"projection_column": "site"}, "column 'site' missing"),
        ({"patient_model": "fold_0.pt"}, "needs features of 5 channels, but the embeddings have 80"),
        ({"superpixels": "damaged.pt"}, "damaged.pt"),
    ],
)
def test_inference(
    settings: dict[str, str],
    told: str,
    slides: Callable[..., Path],
    tiny_pretrained: Any,
    patient_model: Path,
    tmp_path: Path,
) -> None:
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.tasks.inference.embed import CohortEmbedding
    from hmgdm_monai.tasks.inference.report import InferenceReport

    (tmp_path / "damaged.pt").write_bytes(b"nothing")
    folders = {"patient_model": patient_model.parent, "superpixels": tmp_path}
    given = {name: str(folders[name] / value) if name in folders else value for name, value in settings.items()}
    recipe = recipe_of(tiny_pretrained.run_settings)
    embedding = CohortEmbedding(tiny_pretrained, recipe, slides(), tmp_path / "out", progress=False)
    with pytest.raises(InputError, match=told):
        InferenceReport(embedding, tmp_path, **given).check()
    InferenceReport(embedding, tmp_path, projection_column="label").check()


def test_pretraining_on_a_single_patient(slides: Callable[..., Path], tiny_pretrained: Any, tmp_path: Path) -> None:
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData

    data = PretrainingData(slides(patient=["p"] * 6), tmp_path / "out", recipe_of(tiny_pretrained.run_settings))
    with pytest.raises(InputError, match="of 1 patient, but validation holds out patients"):
        data.prepare()


@pytest.mark.parametrize(
    ("columns", "settings", "told"),
    [
        ({"fold": [0, 1, "", 0, 1, 0]}, {}, "'fold' is empty for 1 of 6"),
        ({"fold": [3] * 6}, {}, "contains only 3"),
        ({"fold": [0, 1, 0, 1, 0, 1]}, {}, "class 'a' is only in fold 0"),
        ({"patient": list("pqpqpq")}, {}, "only patient 'p' has class 'a'"),
        ({}, {"n_folds": 1}, "n_folds must be at least 2"),
        ({}, {"val_fraction": 1.5}, "val_fraction must lie between"),
    ],
)
def test_classification(
    columns: dict[str, list[Any]],
    settings: dict[str, Any],
    told: str,
    slides: Callable[..., Path],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    from hmgdm_monai.tasks.run_folder import RunFolder
    from hmgdm_monai.tasks.tiles.cross_validation import CrossValidation
    from hmgdm_monai.tasks.tiles.data import ClassificationData, PretrainedFile
    from hmgdm_monai.tasks.tiles.methods import LinearProbe

    data = ClassificationData(slides(**columns), tmp_path / "stores", PretrainedFile(tiny_model))
    folder = RunFolder(tmp_path / "out", {})
    with pytest.raises(InputError, match=told):
        CrossValidation(data, {"linear": LinearProbe()}, "linear", folder, **settings).run()
    assert not (tmp_path / "out").exists()


OUTCOMES = {"time": [9, 8, 9, 8, 9, 8], "event": [0, 1, 0, 1, 0, 1]}


@pytest.mark.parametrize(
    ("columns", "n_folds", "told"),
    [
        ({"site": ["A", "B", "", "A", "B", "B"]}, 2, "patient 'p2' has no site"),
        ({"site": list("ABABAB"), "fold": [0, 1] * 3}, 2, "column fold, but site_column"),
        ({"site": list("ABABAB")}, 5, "too few for 5 folds"),
    ],
)
def test_survival(
    columns: dict[str, list[Any]],
    n_folds: int,
    told: str,
    slides: Callable[..., Path],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    from hmgdm_monai.tasks.patients.data import PatientData
    from hmgdm_monai.tasks.patients.targets.survival import SurvivalTarget

    manifest = slides(**OUTCOMES, **columns)
    data = PatientData(manifest, [SurvivalTarget()], tiny_model, tmp_path / "features", site_column="site")
    with pytest.raises(InputError, match=told):
        data.folds(n_folds, seed=0)
    assert not (tmp_path / "features").exists()


def test_survival_evaluation(
    slides: Callable[..., Path], tiny_model: Path, patient_model: Path, tmp_path: Path
) -> None:
    from hmgdm_monai.saving.patient_file import load_patient_models
    from hmgdm_monai.tasks.patients.data import PatientData
    from hmgdm_monai.tasks.patients.evaluation import PatientEvaluation, targets_of

    outcomes = {"time": [9, 8, 9, 8, 9, 8], "event": [1, 1, 0, 0, 0, 0]}
    models = load_patient_models(patient_model)
    data = PatientData(slides(**outcomes), targets_of(models), tiny_model, tmp_path / "features")
    with pytest.raises(InputError, match="new to the model: no events among its 4 patients"):
        PatientEvaluation(data, models).prepare()


def test_features_of_another_encoder_are_left_out_if_they_are_few(tmp_path: Path) -> None:
    from hmgdm_monai.data.files.features_file import write_features
    from hmgdm_monai.data.files.joined_features import usable_features

    files = {str(number): (write_features_file(tmp_path / f"{number}.h5"),) for number in range(3)}
    for number in (3, 4, 5):
        files[str(number)] = (write_features(tmp_path / f"{number}.h5", np.ones((2, 7))),)
    usable, faults = usable_features(files)
    assert len(usable) == 6 and not faults  # which half is wrong is not known; the data set refuses them
    usable, faults = usable_features({name: path for name, path in files.items() if name != "5"})
    assert sorted(usable) == ["0", "1", "2"]
    assert sorted(faults) == ["3", "4"] and "7 channels, but most have 4" in faults["3"]
