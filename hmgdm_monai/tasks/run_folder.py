"""The output folder of a run: held by one process, claimed by its settings, described by what it ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hmgdm_monai.data.files.whole_file import sweep_all, write_whole
from hmgdm_monai.errors import InputError, file_error
from hmgdm_monai.handlers.stage_checkpoint import differing_settings
from hmgdm_monai.handlers.tracking_database import DATABASE, tracking_uri
from hmgdm_monai.ranks import is_first_rank
from hmgdm_monai.tasks.run_lock import LOCK_FILE, RunLock, hold

SETTINGS_FILE = "settings.json"
# What a run may leave before it claims the folder, and what a new file system has at its root.
_BEFORE_CLAIM = {DATABASE, "mlflow_artifacts", LOCK_FILE, "lost+found"}


class RunFolder:
    """A folder that belongs to one set of settings, and to one process at a time.

    The settings are written by :meth:`claim`; later runs into the same folder must agree in all of them, else their
    checkpoints, stores and figures would not belong together. Of several ranks the first holds the folder for all.

    Args:
        path: of the folder; made where missing.
        settings: what shapes the run, as JSON knows it.
        free: more settings, which may change between runs (number of epochs, device, workers). Recorded, not compared.
        stores: folders of the run's own that may lie in it before it is claimed.
    """

    def __init__(
        self,
        path: Path | str,
        settings: Mapping[str, Any],
        free: Mapping[str, Any] | None = None,
        stores: Sequence[Path | str] = (),
    ) -> None:
        self.path = Path(path)
        # Through JSON and back: what is compared later is what was written.
        self.settings = json.loads(json.dumps(dict(settings)))
        self.free = json.loads(json.dumps(dict(free or {})))
        self.stores = [Path(store) for store in stores]
        self._lock: RunLock | None = None

    def open(self) -> None:
        """Check the folder and hold it until the process ends; what killed writers left in it is removed.

        Raises:
            InputError: as :meth:`check`, another process works in the folder, or the file system refuses it.
        """
        self.check()
        if is_first_rank():
            try:
                self._lock = hold(self.path)
                sweep_all(self.path)
            except OSError as error:
                raise file_error(self.path, error) from error

    def claim(self) -> None:
        """Write the settings, once what they ask for has proved to be there: a mistyped path must not claim a folder.

        Raises:
            InputError: as :meth:`open`, or the disk is full.
        """
        self.open()
        if is_first_rank():
            write_json(self.path / SETTINGS_FILE, {"settings": self.settings, "free": self.free})

    def check(self) -> None:
        """Check the settings against those the folder was made with, if any: before any work. Changes nothing.

        Raises:
            InputError: the folder holds a run with other settings, its settings file can not be read, or it holds files
                and none of them is a settings file of ours.
        """
        file = self.path / SETTINGS_FILE
        try:
            text = file.read_bytes()
        except FileNotFoundError:
            self._refuse_foreign()
            return
        except OSError as error:
            raise file_error(self.path, error) from error
        try:
            found = json.loads(text)["settings"]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{file}: is not a settings file of ours; choose another output folder") from None
        if not isinstance(found, dict):
            raise InputError(f"{file}: is not a settings file of ours; choose another output folder")
        differing = differing_settings(found, self.settings)
        if differing:
            raise InputError(
                f"output_dir {self.path} holds a run with other settings ({differing}); "
                "choose another --output_dir, or remove it"
            )

    def tracking_uri(self) -> str | None:
        """URI of the run's MLflow database, whole; None where there can be none, which is logged."""
        return tracking_uri(self.path)

    def _refuse_foreign(self) -> None:
        """Files of other programs must not be overwritten: a folder that has any is not for a run of ours."""
        if not is_first_rank() or not self.path.exists():
            return
        own = _BEFORE_CLAIM | {self._top(store) for store in self.stores}
        try:
            names = sorted(one.name for one in self.path.iterdir())
        except OSError as error:
            raise file_error(self.path, error) from error
        # Hidden files are none that a run writes.
        foreign = [name for name in names if name not in own and not name.startswith((".", f"{DATABASE}-"))]
        if foreign:
            raise InputError(
                f"output_dir {self.path} holds {foreign[0]} and no {SETTINGS_FILE} of ours; "
                "choose a new or empty --output_dir"
            )

    def _top(self, store: Path) -> str | None:
        """Name of the folder in this one that a store is or lies in; None for a store elsewhere."""
        inner, outer = store.resolve().parts, self.path.resolve().parts
        return inner[len(outer)] if inner[: len(outer)] == outer and len(inner) > len(outer) else None


def write_json(path: Path | str, content: Any) -> Path:
    """Write JSON, indented, whole or not at all."""
    return write_whole(path, (json.dumps(content, indent=4) + "\n").encode())
