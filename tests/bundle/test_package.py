"""scripts/package_bundle.py: what is in the bundle, what is not, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import recipe_settings

import hmgdm_monai
from hmgdm_monai.data.files.checkpoint_file import read_checkpoint
from hmgdm_monai.saving.classifier_file import load_classifier
from hmgdm_monai.saving.encoder_file import load_encoder, save_encoder
from hmgdm_monai.saving.model_file import DESCRIPTION, write_model

ROOT = Path(__file__).parents[2]


def files_of(bundle: Path) -> set[str]:
    return {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}


def test_what_belongs_is_in_it_and_nothing_else(packaged: Callable[..., Path]) -> None:
    bundle = packaged()
    # Other methods, for comparison, stay with the repository.
    configs = {f"configs/{path.name}" for path in (ROOT / "bundle/configs").iterdir() if path.name != "baselines"}
    expected = {"LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt", "models/classifier.pt"}
    kinds = ("*.py", "*.pyi", "py.typed")  # code, public names, and the mark that it has types
    package = {path.relative_to(ROOT).as_posix() for kind in kinds for path in (ROOT / "hmgdm_monai").rglob(kind)}
    assert files_of(bundle) == expected | configs | package
    version = json.loads((bundle / "configs/metadata.json").read_text())["version"]
    assert version == hmgdm_monai.__version__
    with zipfile.ZipFile(bundle.parent / f"{bundle.name}_v{version}.zip") as archive:
        assert set(archive.namelist()) == {f"{bundle.name}/{name}" for name in files_of(bundle)}
        assert all(archive.read(f"{bundle.name}/{name}") == (bundle / name).read_bytes() for name in files_of(bundle))


def test_its_package_finds_the_models_beside_it(packaged: Callable[..., Path]) -> None:
    code = "import hmgdm_monai; print(hmgdm_monai.__file__); print(hmgdm_monai.load_encoder().tile_size_px)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=packaged(), env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(packaged() / "hmgdm_monai/__init__.py"), "64"]


def test_configs_need_no_import_of_ours_and_are_copied_but_for_the_models(packaged: Callable[..., Path]) -> None:
    """MONAI resolves imports before ``initialize`` puts the bundle on Python's path."""
    for path in (ROOT / "bundle/configs").glob("*.json"):
        if path.name == "metadata.json":
            continue
        ours = json.loads(path.read_text())
        assert not [line for name in ("imports", "+imports") for line in ours.get(name, []) if "hmgdm" in line], (
            path.name
        )
        packed = json.loads((packaged() / "configs" / path.name).read_text())
        differing = {name for name in {**ours, **packed} if ours.get(name) != packed.get(name)}
        assert differing <= {"classifier", "_demo_classifier"}, path.name
    packed = json.loads((packaged() / "configs/evaluate.json").read_text())
    assert packed["classifier"] == "$os.path.join(@bundle_root, 'models', 'classifier.pt')"


def test_json_is_indented_by_four(packaged: Callable[..., Path]) -> None:
    for path in (packaged() / "configs").glob("*.json"):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), indent=4) + "\n", path.name


def test_no_path_of_a_person_is_left_and_what_shapes_tiles_stays(
    packaged: Callable[..., Path], small_models: Callable[[str], Path]
) -> None:
    bundle, before = packaged(), load_encoder(small_models("hmgdm") / "model.pt")
    assert not [p for p in bundle.rglob("*") if p.is_file() and b"somebody" in p.read_bytes()]
    after, classifier = load_encoder(bundle / "models/model.pt"), load_classifier(bundle / "models/classifier.pt")
    assert before.run_settings["data"]["manifest"].startswith("/home/somebody/")
    expected = {**before.run_settings, "data": {**before.run_settings["data"], "manifest": "cohort.csv"}}
    assert after.run_settings == classifier.run_settings == expected
    assert after.digest() == before.digest()


def test_the_metadata_tells_tiles_and_classes_of_the_models(packaged: Callable[..., Path]) -> None:
    data = json.loads((packaged() / "configs/metadata.json").read_text())["network_data_format"]
    assert data["inputs"]["image"]["spatial_shape"] == [64, 64] and data["inputs"]["image"]["num_channels"] == 3
    assert data["outputs"]["pred"]["num_channels"] == 2 * (16 + 24)  # mean and deviation of states and latents
    scores = data["post_processed_outputs"]["scores"]
    assert scores["num_channels"] == 2 and scores["channel_def"] == {"0": "a", "1": "b"}


def test_the_same_models_make_the_same_zip(
    packaged: Callable[..., Path], packaging: Any, small_models: Callable[[str], Path], tmp_path: Path
) -> None:
    models = small_models("hmgdm")
    _, again = packaging.build(models / "model.pt", models / "classifier.pt", tmp_path)
    names = [n for n in files_of(packaged()) if not n.startswith("models/")]
    first = zipfile.ZipFile(packaged().parent / again.name)
    assert all(
        zipfile.ZipFile(again).read(f"{packaged().name}/{n}") == first.read(f"{packaged().name}/{n}") for n in names
    )


class Trap:
    """A pickle that runs a command where it is loaded with trust."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda given, folder: given | {"--model": folder / "none.pt"}, "none.pt: no pretrained model there"),
        (lambda given, folder: given | {"--classifier": folder / "none.pt"}, "none.pt: there is no such checkpoint"),
        (lambda given, folder: given | {"--model": given["--classifier"]}, "another kind: classifier, not encoder"),
        (lambda given, folder: given | {"--classifier": given["--model"]}, "another kind: encoder, not classifier"),
        (lambda given, folder: given | {"--name": "../elsewhere"}, "use lowercase letters"),
        (lambda given, folder: given | {"--name": "/tmp/x"}, "use lowercase letters"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(
    change: Callable[..., dict],
    told: str,
    packaging: Any,
    small_models: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    models = small_models("hmgdm")
    given = {"--model": models / "model.pt", "--classifier": models / "classifier.pt", "--output": tmp_path / "dist"}
    given = change(given, tmp_path)
    assert packaging.main([str(part) for pair in given.items() for part in pair]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error
    assert not (tmp_path / "dist").exists() or not any((tmp_path / "dist").iterdir())


@pytest.mark.parametrize("what", ["cut short", "trap", "version", "weights"])
def test_a_checkpoint_that_is_not_right_is_refused_and_never_runs(
    what: str,
    packaging: Any,
    small_models: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    models, bad, mark = small_models("hmgdm"), tmp_path / "bad.pt", tmp_path / "it_ran"
    content = read_checkpoint(models / "model.pt")
    if what == "cut short":
        bad.write_bytes((models / "model.pt").read_bytes()[:5000])
    elif what == "trap":
        torch.save({**content, DESCRIPTION: Trap(mark)}, bad)
    elif what == "version":
        write_model(bad, "encoder", content, {"format": 99})
    else:
        torch.save({DESCRIPTION: content[DESCRIPTION]}, bad)
    assert (
        packaging.main(["--model", str(bad), "--classifier", str(models / "classifier.pt"), "--output", str(tmp_path)])
        == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "bad.pt" in error
    assert not mark.exists()
    if what == "trap":  # the same file is a trap indeed
        with pytest.raises(Exception):  # noqa: B017  what comes of it is no mapping of ours
            pickle.loads(pickle.dumps(Trap(mark))).keys()
        assert mark.exists()


def test_models_that_do_not_belong_together_are_refused(
    packaging: Any, small_models: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    models = small_models("hmgdm")
    encoder = load_encoder(models / "model.pt")
    encoder.run_settings["recipe"] = recipe_settings(n_segments=13)
    save_encoder(tmp_path / "model.pt", encoder)
    given = ["--model", tmp_path / "model.pt", "--classifier", models / "classifier.pt", "--output", tmp_path / "dist"]
    assert packaging.main([str(part) for part in given]) == 2
    assert "(transforms)" in capsys.readouterr().err


def test_a_link_that_leaves_the_bundle_is_refused(packaging: Any, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / "bundle/notes.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ValueError, match="leads out of the bundle"):
        packaging._sources(tmp_path / "bundle")


def test_large_files_are_listed_with_their_hash(
    packaging: Any,
    small_models: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    import hashlib

    import yaml

    models = small_models("hmgdm")
    monkeypatch.setattr(packaging, "LARGE_MB", 0.1)
    given = ["--model", models / "model.pt", "--classifier", models / "classifier.pt", "--output", tmp_path]
    assert packaging.main([str(part) for part in given]) == 2
    assert "--large-files-url" in capsys.readouterr().err
    assert packaging.main([*(str(part) for part in given), "--large-files-url", "https://example.org/files/"]) == 0
    bundle = tmp_path / "pathology_hmgdm"
    listed = yaml.safe_load((bundle / "large_files.yml").read_text())["large_files"]
    large = {name for name in files_of(bundle) if (bundle / name).stat().st_size > 0.1 * 2**20}
    assert {entry["path"] for entry in listed} == large and "models/model.pt" in large
    for entry in listed:
        content = (bundle / entry["path"]).read_bytes()
        assert entry["hash_val"] == hashlib.sha256(content).hexdigest() and entry["hash_type"] == "sha256"
        assert entry["url"] == f"https://example.org/files/{Path(entry['path']).name}"
    assert packaging.main([str(part) for part in given]) == 2
    assert "exists; remove it" in capsys.readouterr().err
