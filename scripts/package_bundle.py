"""Build the bundle for the Model Zoo, as a folder and as a zip.

python scripts/package_bundle.py                    # with the weights of this repository
python scripts/package_bundle.py --model runs/pretraining/model.pt \
    --classifier runs/classification/finetune/checkpoints/classifier_fold0.pt
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from package_parts.checkpoints import copy_checkpoint
from package_parts.configs import PACKAGE, packed_config, packed_metadata, write_config

import hmgdm_monai
from hmgdm_monai.errors import InputError, file_error
from hmgdm_monai.saving.classifier_file import load_classifier
from hmgdm_monai.saving.encoder_file import load_encoder

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "bundle/models"
NAME = "pathology_hmgdm"
LARGE_MB = 25  # the Zoo downloads larger files from another place


def build(model: Path, classifier: Path, output: Path, name: str = NAME, url: str | None = None) -> tuple[Path, Path]:
    """Build the bundle, completely or not at all.

    Args:
        model: a ``model.pt`` of train.json.
        classifier: a ``classifier_fold*.pt`` of classify.json, trained with this model.
        output: folder for the bundle and its zip; created if missing.
        name: name of the bundle.
        url: URL of the folder from which large files will be downloaded; needed if there are large files.

    Returns:
        Folder of the bundle, and its zip.

    Raises:
        InputError: a file is missing or no model file, model and classifier do not match, versions differ, a name or
            path leads out of the bundle, the folder exists already, or it cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"--name {name!r}: use lowercase letters, digits and _; for example {NAME}")
    target = output / name
    if target.exists():
        raise InputError(f"{target} exists; remove it, or give another --output")
    shape = _checked(model, classifier)
    metadata = json.loads((ROOT / "bundle/configs/metadata.json").read_text())
    _check_version(metadata)
    try:
        return _build(model, classifier, output, name, url, packed_metadata(metadata, *shape))
    except OSError as error:
        raise file_error(output, error) from error


def _build(
    model: Path, classifier: Path, output: Path, name: str, url: str | None, metadata: dict
) -> tuple[Path, Path]:
    target = output / name
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=f".{name}.") as scratch:
        bundle = Path(scratch) / name
        for path in _sources(ROOT / "bundle"):
            if path.suffix != ".json":
                _copy(ROOT / "bundle" / path, bundle / path)
        for path in sorted((ROOT / "bundle/configs").glob("*.json")):
            if path.name != "metadata.json":
                write_config(bundle / "configs" / path.name, packed_config(json.loads(path.read_text())))
        write_config(bundle / "configs/metadata.json", metadata)
        for path in (path for pattern in ("*.py", "*.pyi", "py.typed") for path in _sources(ROOT / PACKAGE, pattern)):
            _copy(ROOT / PACKAGE / path, bundle / PACKAGE / path)
        copy_checkpoint(model, bundle / "models/model.pt")
        copy_checkpoint(classifier, bundle / "models/classifier.pt")
        _list_large_files(bundle, url)
        _check_paths(bundle, (model, classifier))
        archive = Path(scratch) / f"{name}_v{metadata['version']}.zip"
        _zip(bundle, archive)
        bundle.rename(target)
        archive.replace(output / archive.name)
    return target, output / archive.name


def _checked(model: Path, classifier: Path) -> tuple[int, int, tuple[str, ...]]:
    """Return side of the tiles in px, size of an embedding, and classes, of two files that match."""
    pretrained, trained = load_encoder(model), load_classifier(classifier)
    ours, theirs = pretrained.run_settings["recipe"], trained.run_settings["recipe"]
    differing = [name for name in ("tile_spec", "transforms") if ours.get(name) != theirs.get(name)]
    if differing:
        raise InputError(
            f"{classifier}: was trained on other tiles than {model} ({', '.join(differing)}); give a classifier of "
            "this model"
        )
    side = int(ours["tile_spec"]["size_px"])
    with torch.inference_mode():
        embedding = pretrained(torch.randint(0, 256, (1, 3, side, side)).float())
    return side, embedding.shape[1], trained.classes


def _check_version(metadata: dict) -> None:
    if metadata["version"] != hmgdm_monai.__version__ or metadata["version"] not in metadata["changelog"]:
        raise InputError(
            f"bundle/configs/metadata.json: version {metadata['version']} must be the version of the package, "
            f"{hmgdm_monai.__version__}, and the changelog must contain it"
        )


def _sources(folder: Path, pattern: str = "*") -> list[Path]:
    """Return the files in a folder, relative to it, without hidden files and caches."""
    found = []
    for path in sorted(folder.rglob(pattern)):
        relative = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path}: leads out of the bundle, to {path.resolve()}; copy the file itself there")
        if relative.parts[0] != "models":  # models are arguments
            found.append(relative)
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _list_large_files(bundle: Path, url: str | None) -> None:
    """Write large_files.yml if there are large files."""
    large = [path for path in sorted(bundle.rglob("*")) if path.is_file() and path.stat().st_size > LARGE_MB * 2**20]
    if not large:
        return
    if url is None:
        names = ", ".join(path.name for path in large)
        raise InputError(f"{names}: larger than {LARGE_MB} MB, so the Zoo must download it: give --large-files-url")
    lines = ["large_files:"]
    for path in large:
        lines += [
            f'- path: "{path.relative_to(bundle).as_posix()}"',
            f'  url: "{url.rstrip("/")}/{path.name}"',
            f'  hash_val: "{hashlib.sha256(path.read_bytes()).hexdigest()}"',
            '  hash_type: "sha256"',
        ]
    (bundle / "large_files.yml").write_text("\n".join(lines) + "\n")


def _check_paths(bundle: Path, given: tuple[Path, ...]) -> None:
    """Raise an InputError if a file contains the path of a folder of this machine."""
    ours = {str(folder) for folder in (Path.home(), ROOT, Path.cwd(), *(path.resolve().parent for path in given))}
    for path in sorted(bundle.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        for folder in ours - {"/"}:
            if f"{folder}/".encode() in content:
                raise InputError(f"{path.relative_to(bundle)}: contains the personal path {folder}; remove it")


def _zip(bundle: Path, archive: Path) -> None:
    """Zip the folder under its name; the same content gives the same file."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(bundle.parent).as_posix())
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            file.writestr(entry, path.read_bytes())


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and build the bundle; return 2 on bad input."""
    parser = argparse.ArgumentParser(description="Build the bundle for the Model Zoo, as a folder and a zip.")
    parser.add_argument(
        "--model", type=Path, default=MODELS / "model.pt", help="model.pt of train.json (default: the shipped one)"
    )
    parser.add_argument(
        "--classifier",
        type=Path,
        default=MODELS / "classifier.pt",
        help="classifier of classify.json (default: the shipped one)",
    )
    parser.add_argument("--output", type=Path, default=Path("dist"), help="output folder (default: %(default)s)")
    parser.add_argument("--name", default=NAME, help="name of the bundle (default: %(default)s)")
    parser.add_argument("--large-files-url", help=f"URL of the folder of files above {LARGE_MB} MB")
    given = parser.parse_args(arguments)
    try:
        folder, archive = build(given.model, given.classifier, given.output, given.name, given.large_files_url)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"wrote {folder} ({size / 2**20:.1f} MB) and {archive} ({archive.stat().st_size / 2**20:.1f} MB)")
    if (folder / "large_files.yml").exists():
        print("large_files.yml lists the files to upload to the given URL and to leave out of a pull request")
    return 0


if __name__ == "__main__":
    sys.exit(main())
