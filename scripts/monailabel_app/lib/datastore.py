"""A folder of images: nothing outside of it is written or read, and labels are checked before they are kept."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monailabel.datastore.local import LocalDatastore

from hmgdm_monai.errors import InputError
from lib.names import IMAGE_SUFFIXES, LABEL_SUFFIXES, check_name, check_upload, inside

logger = logging.getLogger(__name__)


def _one_at_a_time(name: str) -> Callable[..., Any]:
    """A method of :class:`LocalDatastore`, which is not made for threads, under the datastore's lock."""
    method = getattr(LocalDatastore, name)

    @functools.wraps(method)
    def locked(self: CheckedDatastore, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return locked


class CheckedDatastore(LocalDatastore):
    """MONAI Label's local datastore, which would take any name and any file.

    Args:
        check: called with the label's file and the image's name before the label is kept; raises to refuse it.
        image_folders: further folders that links in the studies folder may lead to.
        *args: of :class:`LocalDatastore`, likewise keywords.
    """

    def __init__(
        self, check: Callable[[str, str], None], image_folders: Sequence[Path], *args: Any, **kwargs: Any
    ) -> None:
        self._check = check
        self._image_folders = tuple(image_folders)
        self.lock = threading.RLock()
        super().__init__(*args, **kwargs)

    @property
    def folders(self) -> tuple[Path, ...]:
        """From which images may be read; the first one is the studies folder."""
        return Path(self._datastore_path), *self._image_folders

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Keep an image under a name of one file in the studies folder.

        Args:
            image_id: name of the image.
            image_filename: the file to copy.
            image_info: what the client says of it.

        Returns:
            The name.

        Raises:
            InputError: the name or the suffix is none of an image, a link of that name leads elsewhere, or see
                :meth:`update_image_info`.
        """
        check_name(image_id, "image")
        check_upload(os.path.basename(image_filename), IMAGE_SUFFIXES, "image")
        _check_info(image_info)
        with self.lock:
            self._check_place(self._datastore.image_path(), image_id, image_filename)
            return super().add_image(image_id, image_filename, image_info)

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Keep what a client or a strategy says of an image.

        Args:
            image_id: name of the image.
            info: is laid over what was kept.

        Raises:
            InputError: it would change which image the next sample is said to be.
        """
        _check_info(info)
        with self.lock:
            super().update_image_info(image_id, info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label that passes the check.

        Args:
            image_id: name of the image.
            label_filename: the file to copy.
            label_tag: folder of such labels.
            label_info: what the client says of it.

        Returns:
            Name of the label, which is that of the image.

        Raises:
            InputError: the tag is no name, the suffix none of a label, or a link leads elsewhere.
        """
        check_name(image_id, "image")
        check_name(label_tag, "tag")
        check_upload(os.path.basename(label_filename), LABEL_SUFFIXES, "label")
        self._check(label_filename, image_id)
        with self.lock:
            self._check_place(self._datastore.label_path(label_tag), image_id, label_filename)
            return super().save_label(image_id, label_filename, label_tag, label_info)

    def get_image_uri(self, image_id: str) -> str:
        """Path of an image; empty where there is none.

        Args:
            image_id: name of the image.

        Raises:
            InputError: its file is a link out of the folders.
        """
        with self.lock:
            path = super().get_image_uri(image_id)
        return self._readable(path, image_id) if path else path

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label; empty where there is none.

        Args:
            label_id: name of its image.
            label_tag: folder of such labels.

        Raises:
            InputError: its file is a link out of the studies folder.
        """
        with self.lock:
            path = super().get_label_uri(label_id, label_tag)
        if path and not inside(path, self.folders[:1]):
            raise InputError(f"label of {label_id}: is a link out of the studies folder; copy the file there")
        return path

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Images with their labels, but for links out of the folders.

        Args:
            full_path: give whole paths.
        """
        with self.lock:
            pairs = super().datalist(full_path)
        return [
            pair
            for pair in pairs
            if not full_path or (inside(pair["image"], self.folders) and inside(pair["label"], self.folders[:1]))
        ]

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """Files of a folder, but for links out of the folders: those are no images of this datastore."""
        found = super()._list_files(path, patterns)
        kept = {name: file for name, file in found.items() if inside(os.path.join(path, file), self.folders)}
        for name in sorted(set(found) - set(kept)):
            logger.warning(f"{name} is left out: a link out of the studies folder; see --conf image_folders")
        return kept

    def _readable(self, path: str, image_id: str) -> str:
        if not inside(path, self.folders):
            raise InputError(
                f"image {image_id}: is a link out of the studies folder; start the server with --conf image_folders "
                "FOLDER to read it"
            )
        return path

    def _check_place(self, folder: str, image_id: str, filename: str) -> None:
        """Refuse to write through a link."""
        place = os.path.join(folder, self._filename(image_id, self._to_id(os.path.basename(filename))[1]))
        if not inside(place, self.folders[:1]):
            raise InputError(f"image {image_id}: {place} leads out of the studies folder; remove the link")

    remove_image = _one_at_a_time("remove_image")
    remove_label = _one_at_a_time("remove_label")
    update_label_info = _one_at_a_time("update_label_info")
    get_image_info = _one_at_a_time("get_image_info")
    get_label_info = _one_at_a_time("get_label_info")
    get_labeled_images = _one_at_a_time("get_labeled_images")
    get_unlabeled_images = _one_at_a_time("get_unlabeled_images")
    list_images = _one_at_a_time("list_images")
    status = _one_at_a_time("status")
    json = _one_at_a_time("json")
    refresh = _one_at_a_time("refresh")
    _init_from_datastore_file = _one_at_a_time("_init_from_datastore_file")


def _check_info(info: dict[str, Any]) -> None:
    """MONAI Label lays this over the next sample it answers, and adds to its "strategy"."""
    for name in ("id", "path"):
        if name in info:
            raise InputError(f"info of an image: {name!r} is what the server says; take another name")
    if not isinstance(info.get("strategy", {}), dict):
        raise InputError("info of an image: strategy must be an object; leave it out")
