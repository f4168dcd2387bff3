"""A full disk is one line, nothing stands half-written, and the same command goes on when there is room.

The slow tests run whole workflows: python -m pytest -m slow tests/faults/test_full_disk.py. All need the right to mount
a small file system.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import Models, write_tiff
from miniature_runs import TINY

from hmgdm_monai.data.files.whole_file import is_temporary
from hmgdm_monai.errors import InputError


class SmallDisk:
    """A file system of a few kilobytes."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._mount(f"size={kilobytes}k", "tmpfs")

    def grow(self) -> None:
        self._mount("remount,size=200m")

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def _mount(self, options: str, *source: str) -> None:
        kind = ["-t", "tmpfs"] if source else []
        done = subprocess.run(
            ["mount", *kind, "-o", options, *source, str(self.folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no right to mount a small file system: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Function kilobytes -> a small file system."""
    made: list[SmallDisk] = []

    def make(kilobytes: int) -> SmallDisk:
        made.append(SmallDisk(tmp_path / f"disk_{len(made)}", kilobytes))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


def check_refused(work: Callable[[], Any], disk: SmallDisk) -> None:
    """The work ends with one line about room, and leaves no temporary file."""
    with pytest.raises(InputError) as caught:
        work()
    line = str(caught.value)
    assert "No space left on device" in line and str(disk.folder) in line and "\n" not in line
    assert not [path for path in disk.folder.rglob("*") if is_temporary(path)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kilobytes", [4, 30, 60])
def test_demo(kilobytes: int, small_disk: Callable[[int], SmallDisk], tmp_path: Path) -> None:
    from hmgdm_monai.data.demo import make_demo_cohort

    disk = small_disk(kilobytes)

    def draw(folder: Path = disk.folder / "cohort") -> None:
        make_demo_cohort(folder, n_patients=2, slide_px=256, mpp=1.0)

    check_refused(draw, disk)
    draw(tmp_path / "whole")
    assert contents(disk.folder / "cohort").items() <= contents(tmp_path / "whole").items()
    disk.grow()
    draw()
    assert contents(disk.folder / "cohort") == contents(tmp_path / "whole")


@pytest.mark.parametrize("kilobytes", [4, 100, 1000])
def test_package(kilobytes: int, small_disk: Callable[[int], SmallDisk], models: Models) -> None:
    import package_bundle

    disk = small_disk(kilobytes)
    check_refused(lambda: package_bundle.build(models.encoder, models.classifier, disk.folder / "dist"), disk)
    assert contents(disk.folder) == {}
    disk.grow()
    folder, archive = package_bundle.build(models.encoder, models.classifier, disk.folder / "dist")
    assert (folder / "models/model.pt").exists() and archive.exists()


@pytest.fixture
def slides(tmp_path: Path, stained: Callable[[int, int], Any]) -> Path:
    """Manifest of three slides of three patients."""
    (tmp_path / "slides").mkdir()
    for number in range(3):
        write_tiff(tmp_path / "slides" / f"s{number}.tif", stained(128, 128))
    rows = [f"s{number}.tif,p{number}" for number in range(3)]
    (tmp_path / "slides" / "m.csv").write_text("\n".join(["image,patient", *rows]) + "\n")
    return tmp_path / "slides" / "m.csv"


@pytest.mark.parametrize("kilobytes", [4, 12])
def test_embeddings(kilobytes: int, small_disk: Callable[[int], SmallDisk], slides: Path, tiny_pretrained: Any) -> None:
    from hmgdm_monai.tasks.inference.embed import embed_slides

    disk = small_disk(kilobytes)

    def embed() -> Any:
        return embed_slides(tiny_pretrained, slides, disk.folder / "out", progress=False)

    check_refused(embed, disk)
    disk.grow()
    assert len(embed().slides) == 3


@pytest.mark.parametrize("kilobytes", [4, 160])
def test_graphs_of_pretraining(
    kilobytes: int, small_disk: Callable[[int], SmallDisk], slides: Path, tiny_pretrained: Any
) -> None:
    from hmgdm_monai.preparation.recipe import recipe_of
    from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData

    disk = small_disk(kilobytes)

    def prepare() -> PretrainingData:
        data = PretrainingData(slides, disk.folder / "out", recipe_of(tiny_pretrained.run_settings))
        data.prepare()
        return data

    check_refused(prepare, disk)
    disk.grow()
    assert len(prepare().cohort.paths) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [4, 100, 700, 1200, 1800])
@pytest.mark.parametrize("name", ["train", "inference"])
def test_a_whole_run(
    name: str, kilobytes: int, small_disk: Callable[[int], SmallDisk], small_cohort: Path, tiny: Any, tmp_path: Path
) -> None:
    from recipes import recipe_settings

    from hmgdm_monai.saving.encoder_file import save_encoder
    from hmgdm_monai.tasks.bundle_workflow import run_bundle

    settings: dict[str, Any] = TINY["train.json"]
    if name == "inference":
        save_encoder(tmp_path / "model.pt", tiny.encoder(run={**tiny.run, "recipe": recipe_settings(128, 1.0)}))
        settings = {"model": tmp_path / "model.pt", "classifier": None, "patient_model": None, "device": "cpu"}
    disk = small_disk(kilobytes)

    def work() -> None:
        run_bundle(f"{name}.json", small_cohort, disk.folder / "run", settings)

    check_refused(work, disk)
    disk.grow()
    work()
    assert (disk.folder / "run" / ("model.pt" if name == "train" else "summary.json")).exists()
