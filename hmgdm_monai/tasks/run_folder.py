"""The output folder of a run: claimed by its settings, described by what it ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmgdm_monai.data.files.whole_file import write_whole
from hmgdm_monai.errors import InputError
from hmgdm_monai.handlers.stage_checkpoint import differing_settings
from hmgdm_monai.ranks import is_first_rank

SETTINGS_FILE = "settings.json"


class RunFolder:
    """A folder that belongs to one set of settings.

    The settings are written by :meth:`claim`; later runs into the same folder must agree in all of them, else their
    checkpoints, stores and figures would not belong together.

    Args:
        path: of the folder; made where missing.
        settings: what shapes the run, as JSON knows it.
        free: more settings, which may change between runs (number of epochs, device, workers). Recorded, not compared.
    """

    def __init__(self, path: Path | str, settings: Mapping[str, Any], free: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        # Through JSON and back: what is compared later is what was written.
        self.settings = json.loads(json.dumps(dict(settings)))
        self.free = json.loads(json.dumps(dict(free or {})))

    def claim(self) -> None:
        """Write the settings, once what they ask for has proved to be there: a mistyped path must not claim a folder.

        Raises:
            InputError: as :meth:`check`, or the disk is full.
        """
        self.check()
        if is_first_rank():
            write_json(self.path / SETTINGS_FILE, {"settings": self.settings, "free": self.free})

    def check(self) -> None:
        """Check the settings against those the folder was made with, if any: before any work.

        Raises:
            InputError: the folder holds a run with other settings, or its settings file can not be read.
        """
        file = self.path / SETTINGS_FILE
        if file.exists():
            try:
                found = json.loads(file.read_text())["settings"]
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


def write_json(path: Path | str, content: Any) -> Path:
    """Write JSON, indented, whole or not at all."""
    return write_whole(path, (json.dumps(content, indent=4) + "\n").encode())
