"""The base of descriptions of the arguments of a part of a config."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel


class Part(BaseModel):
    """Arguments of a class or function that a config names in ``_target_``.

    A field has the name of an argument. If its type is ``Any``, the annotation of the argument is the type.
    """

    # Dotted names of the classes and functions. A name that ends with a dot stands for all of that module.
    targets: ClassVar[tuple[str, ...]] = ()
