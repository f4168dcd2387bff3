"""A folder of images whose labels are checked before they are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monailabel.datastore.local import LocalDatastore


class CheckedDatastore(LocalDatastore):
    """MONAI Label's local datastore, which would keep any file as a label.

    Args:
        check: called with the label's file and the image's name before the label is kept; raises to refuse it.
        *args: of :class:`LocalDatastore`, likewise keywords.
    """

    def __init__(self, check: Callable[[str, str], None], *args: Any, **kwargs: Any) -> None:
        self._check = check
        super().__init__(*args, **kwargs)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label that passes the check."""
        self._check(label_filename, image_id)
        return super().save_label(image_id, label_filename, label_tag, label_info)
