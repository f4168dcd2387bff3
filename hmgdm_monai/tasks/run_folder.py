"""The output folder of a run: one process and one set of settings."""

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
# What a run may write before it claims the folder, and what a new file system has at its root.
_BEFORE_CLAIM = {DATABASE, "mlflow_artifacts", LOCK_FILE, "lost+found"}


class RunFolder:
    """A folder that belongs to one set of settings, and to one process at a time.

    :meth:`claim` writes the settings. Later runs in the same folder must have equal settings; otherwise checkpoints,
    stores and figures would not belong together. With several ranks, the first holds the folder for all.

    Args:
        path: path of the folder; a missing folder is made.
        settings: settings that identify the run, as JSON values.
        free: settings that may change between runs (number of epochs, device, workers); recorded, not compared.
        stores: store folders of the run, which may exist in the folder before it is claimed.
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
        """Check the folder, lock it until the process ends, and remove unfinished files of killed runs.

        Raises:
            InputError: the check fails (see :meth:`check`), another process works in the folder, or the folder cannot
                be made or written.
        """
        self.check()
        if is_first_rank():
            try:
                self._lock = hold(self.path)
                sweep_all(self.path)
            except OSError as error:
                raise file_error(self.path, error) from error

    def claim(self) -> None:
        """Write the settings. Call it when the inputs are known to exist: a misspelled path must not claim a folder.

        Raises:
            InputError: the folder cannot be opened (see :meth:`open`), or the disk is full.
        """
        self.open()
        if is_first_rank():
            write_json(self.path / SETTINGS_FILE, {"settings": self.settings, "free": self.free})

    def check(self) -> None:
        """Compare the settings with those of the folder, if it has any. Changes nothing.

        Raises:
            InputError: the folder holds a run with other settings, its settings file cannot be read, or it holds files
                but no settings file of ours.
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
        """Return the URI of the run's MLflow database; None if there can be no database, which is logged."""
        return tracking_uri(self.path)

    def _refuse_foreign(self) -> None:
        """Refuse a folder with files of other programs, which must not be overwritten."""
        if not is_first_rank() or not self.path.exists():
            return
        own = _BEFORE_CLAIM | {self._top(store) for store in self.stores}
        try:
            names = sorted(one.name for one in self.path.iterdir())
        except OSError as error:
            raise file_error(self.path, error) from error
        # A run writes no hidden files.
        foreign = [name for name in names if name not in own and not name.startswith((".", f"{DATABASE}-"))]
        if foreign:
            raise InputError(
                f"output_dir {self.path} holds {foreign[0]} and no {SETTINGS_FILE} of ours; "
                "choose a new or empty --output_dir"
            )

    def _top(self, store: Path) -> str | None:
        """Return the first part of a store's path below this folder; None if the store is elsewhere."""
        inner, outer = store.resolve().parts, self.path.resolve().parts
        return inner[len(outer)] if inner[: len(outer)] == outer and len(inner) > len(outer) else None


def write_json(path: Path | str, content: Any) -> Path:
    """Write JSON, indented, whole or not at all."""
    return write_whole(path, (json.dumps(content, indent=4) + "\n").encode())
