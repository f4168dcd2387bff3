"""What an id, a tag or a file name of a client may be, and which files it may read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from hmgdm_monai.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif")
LABEL_SUFFIXES = (".json", ".xml")
LONGEST_NAME = 150  # bytes; file systems end a name at 255, and suffixes come on top
LONGEST_PATH = 4096  # bytes


def check_name(name: object, what: str) -> str:
    """Refuse a name that could be more than the name of one file in one folder.

    Args:
        name: of a client.
        what: how to call it in the error.

    Returns:
        The name.

    Raises:
        InputError: no text, empty, too long, hidden (a dot first), with a slash, a backslash or a character that
            cannot be printed.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"{what} must be a name, not {_shown(name)}")
    if not name.isprintable():  # also NUL, line breaks, and halves of characters that no file system takes
        raise InputError(f"{what} {_shown(name)} has a character that cannot be printed; leave it out")
    if "/" in name or "\\" in name:
        raise InputError(f"{what} {_shown(name)} has a slash or backslash; give a name without folders")
    if name.startswith("."):
        raise InputError(f"{what} {_shown(name)} starts with a dot; give another name")
    if len(name.encode()) > LONGEST_NAME:
        raise InputError(f"{what} {_shown(name)} is longer than {LONGEST_NAME} bytes; give a shorter name")
    return name


def check_upload(name: object, suffixes: Sequence[str], what: str) -> str:
    """Refuse the name of an uploaded file that is no plain name or has none of the suffixes.

    Args:
        name: of the file, as the client gives it.
        suffixes: in lower case, with their dot.
        what: how to call it in the error.

    Returns:
        The name.

    Raises:
        InputError: see above.
    """
    name = check_name(name, what)
    if Path(name).suffix.lower() not in suffixes:
        raise InputError(f"{what} {_shown(name)} has none of the suffixes {', '.join(suffixes)}")
    return name


def inside(path: Path | str, folders: Iterable[Path | str]) -> bool:
    """Whether a path, all links followed, lies in one of the folders."""
    real = os.path.realpath(path)
    return any(Path(real).is_relative_to(os.path.realpath(folder)) for folder in folders)


def image_path(text: str, folders: Sequence[Path | str]) -> Path:
    """The image file that a client names by its whole path.

    Whether a file outside of the folders is there is not told.

    Args:
        text: absolute path.
        folders: from which images may be read.

    Returns:
        The file, all links followed.

    Raises:
        InputError: it lies elsewhere, is not there, or has no suffix of an image.
    """
    if not text.isprintable() or len(text.encode()) > LONGEST_PATH:
        raise InputError(f"image {_shown(text)} is no path of a file; name an image of the studies folder")
    if not inside(text, folders):
        raise InputError(
            f"image {_shown(text)} lies outside of the studies folder; put it there, or start the server with "
            "--conf image_folders FOLDER"
        )
    path = Path(os.path.realpath(text))
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"image {_shown(text)} has none of the suffixes {', '.join(IMAGE_SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"image {_shown(text)} is not there; GET /datastore/?output=all lists the images")
    return path


def _shown(name: object) -> str:
    """A name for one line: short, and without line breaks."""
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
