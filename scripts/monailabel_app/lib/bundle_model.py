"""The classifier of a packaged bundle, or what was made of it by submitted labels."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.data.tiles.tiling import TileSpec
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.saving.classifier_file import Classifier, load_classifier, save_classifier
from lib.refit import BATCH_TILES, refitted


class BundleModel:
    """Classifies tiles by ``models/classifier.pt`` of a bundle; after training by the file that training wrote.

    That file stands beside the app's models and belongs to one ``classifier.pt``, by its digest: a bundle that is
    replaced does not go on with what was trained from the old one. Files are read when they are first needed and read
    anew when they change, since training runs in a process of its own.

    Args:
        bundle: the bundle's folder.
        trained_folder: where training writes.
    """

    def __init__(self, bundle: Path | str, trained_folder: Path | str) -> None:
        self.bundle = Path(bundle)
        self.name = self.bundle.resolve().name
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._trained_folder = Path(trained_folder)
        self._lock = threading.Lock()  # requests come from several threads
        self._loaded: tuple[tuple[Path, int, int], Classifier] | None = None
        self._digest: tuple[tuple[Path, int, int], str] | None = None

    @property
    def packaged(self) -> Path:
        """The bundle's own file of weights.

        Raises:
            InputError: there is none.
        """
        path = self.bundle / "models" / "classifier.pt"
        if not path.is_file():
            raise InputError(
                f"model {self.name!r}: {path} is missing; put the packaged bundle there (docs/monailabel.md)"
            )
        return path

    @property
    def trained(self) -> Path:
        """File that training writes, whether it is there or not."""
        stamp = _stamp(self.packaged)
        if self._digest is None or self._digest[0] != stamp:
            self._digest = stamp, hashlib.sha256(self.packaged.read_bytes()).hexdigest()
        return self._trained_folder / f"{safe_name(self.name)}-{self._digest[1][:12]}.pt"

    @property
    def path(self) -> Path:
        """File that classifies now."""
        return self.trained if self.trained.is_file() else self.packaged

    @property
    def stamp(self) -> tuple[Path, int, int]:
        """Changes when another model classifies."""
        return _stamp(self.path)

    @property
    def metadata(self) -> dict[str, Any]:
        """Content of the bundle's metadata.json.

        Raises:
            InputError: it is missing or no JSON object.
        """
        path = self.bundle / "configs" / "metadata.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"model {self.name!r}: {path} is missing; put the whole bundle there") from error
        except ValueError as error:
            raise InputError(f"model {self.name!r}: {path} is no JSON ({error}); package the bundle again") from error
        if not isinstance(content, dict):
            raise InputError(f"model {self.name!r}: {path} is no JSON object; package the bundle again")
        return content

    def classifier(self) -> Classifier:
        """The classifier of now, on :attr:`device`.

        Raises:
            InputError: a file is missing, damaged or no classifier, or its classes are not those of the metadata.
        """
        with self._lock:
            stamp = self.stamp
            if self._loaded is None or self._loaded[0] != stamp:
                classifier = load_classifier(stamp[0])
                outputs = self.metadata.get("network_data_format", {}).get("post_processed_outputs", {})
                channels = outputs.get("scores", {}).get("channel_def")
                if channels and [channels.get(str(i)) for i in range(len(channels))] != list(classifier.classes):
                    raise InputError(
                        f"model {self.name!r}: its classes {list(classifier.classes)} are not those of its metadata, "
                        f"{list(channels.values())}; package the bundle again"
                    )
                classifier.network.to(self.device)
                self._loaded = stamp, classifier
            return self._loaded[1]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.classifier().classes

    @property
    def tile_spec(self) -> TileSpec:
        """Size and scale of the tiles that it was trained on."""
        return recipe_of(self.classifier().run_settings).tile_spec

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities (B, K) float32 of tiles (B, 3, S, S) uint8."""
        logits = self._logits(self.classifier().network, images)
        return logits.softmax(1).cpu().numpy()

    def refit(self, images: np.ndarray, labels: np.ndarray, names: list[str], strength: float) -> dict[str, Any]:
        """Make a model of the packaged one and labeled tiles, which classifies from now on.

        Args:
            images: (B, 3, S, S) uint8.
            labels: (B,) indices of classes.
            names: of the images that the tiles are from, to be kept with the model.
            strength: how much a label weighs against the packaged model.

        Returns:
            ``path``, and the share of these tiles that is classified as labeled ``before`` and ``after``: of what was
            trained on, so no measure of how good the model is.
        """
        base = load_classifier(self.packaged)
        base.network.to(self.device)
        before = self._logits(base.network, images).argmax(1).cpu().numpy()
        network, settings = refitted(base.network, base.mode, base.settings, images, labels, strength)
        after = self._logits(network, images).argmax(1).cpu().numpy()
        seen = sorted({*base.patients, *names})
        self._trained_folder.mkdir(parents=True, exist_ok=True)
        save_classifier(self.trained, network.cpu(), base.mode, settings, base.classes, seen, base.fold)
        return {
            "path": str(self.trained),
            "agreement_before": float((before == labels).mean()),
            "agreement_after": float((after == labels).mean()),
        }

    @torch.inference_mode()
    def _logits(self, network: TileClassifier, images: np.ndarray) -> torch.Tensor:
        parts = [images[start : start + BATCH_TILES] for start in range(0, len(images), BATCH_TILES)]
        return torch.cat([network(torch.tensor(part, device=self.device)) for part in parts])

    def write_stats(self, stats: dict[str, Any]) -> None:
        """Keep what a training says of itself, beside its model."""
        write_whole(self.trained.with_suffix(".json"), json.dumps(stats, indent=4).encode())

    def stats(self) -> dict[str, Any]:
        """What the last training said of itself; empty where there was none."""
        path = self.trained.with_suffix(".json")
        return json.loads(path.read_text()) if path.is_file() and self.trained.is_file() else {}


def _stamp(path: Path) -> tuple[Path, int, int]:
    about = path.stat()
    return path, about.st_mtime_ns, about.st_size
