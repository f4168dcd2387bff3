"""Checkpoints for distribution, without the paths of the machine that trained them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from hmgdm_monai.saving.model_file import rewrite_model


def without_paths(content: Any) -> Any:
    """Return the content with every absolute path reduced to its last part."""
    if isinstance(content, Mapping):
        return {without_paths(key): without_paths(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(without_paths(value) for value in content)
    if isinstance(content, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(content).is_absolute() or content.startswith("~"):
                return kind(content).name
    return content


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a model file without its absolute paths.

    Args:
        source: a model file.
        target: file to write.

    Raises:
        InputError: the file cannot be read, or the disk is full.
    """
    rewrite_model(source, target, without_paths)
