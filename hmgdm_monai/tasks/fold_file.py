"""The stored result of a fold, as read back by a run that goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmgdm_monai.data.files.checkpoint_file import read_checkpoint

logger = logging.getLogger(__name__)


def read_fold_file(path: Path, key: str, model: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the stored result of a completed fold; None if the fold must be run.

    A result is not used if its key differs, or if it or the fold's model is damaged; this is logged.

    Args:
        path: JSON file of the fold, written last.
        key: digest of the fold's input, stored in the file as ``key``.
        model: model file of the fold.
        names: what the file must contain.
    """
    fold = path.stem.replace("_", " ")
    try:
        found = json.loads(path.read_text())
        if found["key"] != key:
            logger.info("%s: its data or settings have changed; run again", fold)
            return None
        read_checkpoint(model)
        missing = [name for name in names if name not in found]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:  # includes the InputError of a damaged checkpoint
        logger.warning("%s: its stored result %s cannot be used (%s); run again", fold, path, error)
        return None
    if missing:
        logger.warning("%s: its stored result %s lacks %s; run again", fold, path, ", ".join(missing))
        return None
    logger.info("%s: completed earlier", fold)
    return dict(found)
