"""MONAI Label app: classes of H&E tiles by a packaged bundle of this project. See docs/monailabel.md."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from lib.answers import escaped_for_xml
from lib.bundle_model import BundleModel
from lib.datastore import CheckedDatastore
from lib.head_training import HeadTraining
from lib.infer import TileInfer
from lib.labels import read_labels
from lib.limits import read_limits
from lib.most_uncertain import MostUncertain
from lib.names import image_path
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.others.pathology import create_asap_annotations_xml, create_dsa_annotations_json

from hmgdm_monai.errors import InputError

logger = logging.getLogger(__name__)

MORE_IMAGES = ("*.jpeg", "*.tiff", "*.ndpi", "*.scn", "*.bif")


class MyApp(MONAILabelApp):
    """Every bundle under ``model/`` is a model, and so is the folder that ``--conf bundle FOLDER`` names.

    Bad input is answered by one line: status 422, or 404 for what there is not; see :mod:`lib.server`.

    Args:
        app_dir: folder of this file.
        studies: folder of images, or a URL as MONAI Label knows it.
        conf: of the command line; ``bundle``, and those of :class:`lib.limits.Limits`.

    Raises:
        InputError: a setting that there is not, or whose value is out of range.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        self._limits = read_limits(conf)
        self._uploads: tuple[Path, ...] = ()
        self._models = _models(Path(app_dir) / "model", conf.get("bundle"))
        super().__init__(
            app_dir,
            studies,
            dict(conf),
            name="hmgdm_monai",
            description="Classes of H&E tiles by a pretrained encoder. For research only, not for diagnosis",
            version="1",
        )
        self._infers_threadpool = None  # lib.work decides how many requests work at once, and ends late ones

    def server_mode(self, mode: bool) -> None:
        """Called when the server starts: from now on the guarded routes answer in place of MONAI Label's.

        Args:
            mode: whether this process is the server; one that trains is none.
        """
        super().server_mode(mode)
        if not mode:
            return
        from lib.server import guarded_server
        from monailabel.app import app

        # Uploads of clients, in a folder of random name that no other user of the machine can read.
        self._temporary = tempfile.TemporaryDirectory(prefix="hmgdm-monailabel-")
        tempfile.tempdir = self._temporary.name
        self._uploads = (Path(self._temporary.name),)
        # Starlette builds this from its routes once; what stands here answers every request.
        app.middleware_stack = guarded_server(self._limits)

    def init_infers(self) -> dict[str, InferTask]:
        """One for each bundle."""
        return {name: TileInfer(model, self._limits) for name, model in self._models.items()}

    def init_trainers(self) -> dict[str, TrainTask]:
        """One for each bundle."""
        return {name: HeadTraining(model) for name, model in self._models.items()}

    def init_strategies(self) -> dict[str, Strategy]:
        """Most uncertain first, and two of MONAI Label's to compare with."""
        return {"most_uncertain": MostUncertain(self._models, self._limits), "random": Random(), "first": First()}

    def init_datastore(self) -> Datastore:
        """MONAI Label's, with names, files and labels checked where it is a local folder."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return CheckedDatastore(
            self._check_label,
            self._limits.image_folders,
            self.studies,
            extensions=[*settings.MONAI_LABEL_DATASTORE_FILE_EXT, *MORE_IMAGES],
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Class of a tile or region."""
        self._known(request.get("model"))
        return super().infer({**request, "image": self._path(request, datastore)}, datastore)

    def infer_wsi(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Classes of the tiles of a slide, as JSON, or as DSA's or ASAP's file of polygons."""
        self._known(request.get("model"))
        request = {**request, "image": self._path(request, datastore)}
        answer = self._infers[request["model"]].slide(request)
        output = request.get("output")
        file = None
        if output == "asap":
            file, _ = create_asap_annotations_xml(escaped_for_xml(answer), "WARNING")
        elif output == "dsa":
            file, _ = create_dsa_annotations_json(answer, "WARNING")
        return {"file": file, "params": answer}

    def batch_infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Class of every image of a datastore of tiles."""
        self._known(request.get("model"))
        # MONAI Label deals images out to GPUs and divides by their number, which may be 0; here models know theirs.
        # With threads of its own it would hide what went wrong, and go on after the time limit.
        return super().batch_infer({**request, "multi_gpu": False, "max_workers": 1}, datastore)

    def train(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Train a model, or all of them where the request names none; MONAI Label calls it in a process of its own."""
        if not self._server_mode:
            try:
                return super().train(request)
            except (InputError, MONAILabelException) as error:
                # The task's status shows the last lines that the process writes: this one, and no traceback.
                sys.exit(f"error: {getattr(error, 'msg', error)}")
        return super().train(request)

    def bundle_path(self, model: str | None) -> None:
        """None: that is for MONAI Label's own bundle tasks. It asks before it starts a process to train in."""
        if model is not None:
            self._known(model)

    def _known(self, name: str | None) -> None:
        if name not in self._models:
            there = ", ".join(self._models)
            raise HTTPException(
                404,
                f"there is no model {name!r}; "
                + (f"there are: {there}" if there else f"put a packaged bundle in {Path(self.app_dir) / 'model'}"),
            )

    def _path(self, request: Mapping[str, Any], datastore: Datastore | None) -> str:
        """The request's image as a file."""
        image = request["image"]
        datastore = datastore or self.datastore()
        if os.path.isabs(image):
            # Uploads lie in the server's own folder of temporary files.
            folders = [*getattr(datastore, "folders", self._limits.image_folders), *self._uploads]
            return str(image_path(image, folders))
        path = datastore.get_image_uri(image)
        if not path or not os.path.exists(path):
            raise HTTPException(404, f"there is no image {image!r} in the datastore")
        return path

    def _check_label(self, path: str, image: str) -> None:
        """Refuse a label that no model could be trained from, or of an image that there is not."""
        if image not in self.datastore().list_images():
            raise HTTPException(404, f"there is no image {image!r} in the datastore to be labeled")
        faults = []
        for model in self._models.values():
            try:
                read_labels(path, model.classes, f"of {image}")
                return
            except InputError as error:
                faults.append(str(error))
        raise HTTPException(422, faults[0] if faults else "there is no model, so no class that a label could name")


def _models(folder: Path, bundle: str | None) -> dict[str, BundleModel]:
    """Bundles by name: those in a folder, and one more."""
    found = [path.parent.parent for path in sorted(folder.glob("*/configs/metadata.json"))]
    if bundle is not None:
        found.append(Path(bundle))
    if not found:
        logger.warning(f"there is no model; put a packaged bundle in {folder} or give --conf bundle FOLDER")
    models = [BundleModel(path, folder) for path in found]
    return {model.name: model for model in models}
