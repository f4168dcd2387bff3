"""The way of a tile from its pixels to its entity graph, as a MONAI ``Compose`` over a dictionary.

The dictionary has ``image`` (3, S, S) uint8, ``mpp`` (microns per pixel, None where unknown) and ``outlines`` ((S, S)
of cells, None where there are none). The last transform adds ``graph``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.errors import InputError, input_error_in
from hmgdm_monai.transforms.cut_entities import CutEntitiesd
from hmgdm_monai.transforms.entity_cutter import EntityCutter
from hmgdm_monai.transforms.entity_graph import BuildEntityGraphd
from hmgdm_monai.transforms.stain import NormalizeStain, NormalizeStaind


def graph_transforms(cutter: EntityCutter, stain: NormalizeStain | None = None) -> Compose:
    """The usual way: stain normalization where it is wanted, entities, graph.

    Args:
        cutter: cuts a tile into entities.
        stain: normalizes the tile first; None leaves it as it is.
    """
    first = [] if stain is None or stain.method is None else [NormalizeStaind("image", stain.method)]
    return Compose([*first, CutEntitiesd("image", cutter), BuildEntityGraphd("image")])


def tile_graph(
    transforms: Compose, image: Any, mpp: float | None = None, outlines: np.ndarray | None = None
) -> EntityGraph:
    """The entity graph of one tile, with the tile as the transforms left it.

    Args:
        transforms: the way of the tile.
        image: (3, S, S) uint8.
        mpp: microns per pixel; None where unknown.
        outlines: (S, S) integer, cells of another program; None without.

    Raises:
        NoEntitiesError: the tile shows none.
        InputError: no transform has made a graph.
    """
    sample = transformed(transforms, {"image": image, "mpp": mpp, "outlines": outlines})
    graph = sample.get("graph")
    if not isinstance(graph, EntityGraph):
        raise InputError("the tile transforms make no graph; let BuildEntityGraphd be the last of them")
    return graph


def transformed(transforms: Compose, sample: dict[str, Any]) -> dict[str, Any]:
    """A sample after its transforms.

    Args:
        transforms: the way of a tile, or a part of it.
        sample: with the keys that they read.

    Raises:
        InputError: a transform has raised it. ``Compose`` wraps errors, but callers leave out a tile by the type.
    """
    try:
        return transforms(sample)
    except RuntimeError as error:
        if (found := input_error_in(error)) is not None:
            raise found from None
        raise


def image_transforms(transforms: Compose) -> Compose:
    """Those that change the image: all before the tile is cut into entities."""
    steps = list(_steps(transforms))
    cuts = [place for place, step in enumerate(steps) if isinstance(step, CutEntitiesd | BuildEntityGraphd)]
    return Compose(steps[: cuts[0]] if cuts else steps)


def cutter_in(transforms: Compose) -> EntityCutter | None:
    """What cuts tiles into entities; None where nothing of ours does."""
    return next((step.cutter for step in _steps(transforms) if isinstance(step, CutEntitiesd)), None)


def reads_cells(transforms: Compose) -> bool:
    """Whether a transform reads outlines of cells."""
    return any(getattr(step, "reads_cells", False) for step in _steps(transforms))


def described(value: Any) -> Any:
    """Transforms, and what they are made of, as values that JSON knows: equal ones give equal values.

    Of our own what their ``settings`` say, of others their class and public attributes.

    Args:
        value: a transform, a sequence of them, or an attribute of one.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | torch.Tensor):
        array = np.ascontiguousarray(value)
        return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
    if isinstance(value, Compose):
        return [described(step) for step in _steps(value)]
    if isinstance(value, Mapping):
        return {str(key): described(one) for key, one in value.items()}
    if isinstance(value, Sequence | set):
        return [described(one) for one in (sorted(value, key=str) if isinstance(value, set) else value)]
    if isinstance(value, type) or hasattr(value, "__code__") or not hasattr(value, "__dict__"):  # classes, functions
        return _name(value)
    if callable(own := getattr(value, "settings", None)):
        return {"class": _name(type(value)), **own()}
    # R: the random state of MONAI's Randomizable.
    public = {name: one for name, one in vars(value).items() if not name.startswith("_") and name != "R"}
    return {"class": _name(type(value)), **{name: described(one) for name, one in sorted(public.items())}}


def _steps(transforms: Compose) -> Iterator[Callable[..., Any]]:
    """The transforms one by one, those of nested ``Compose`` among them."""
    for step in transforms.transforms:
        if isinstance(step, Compose):
            yield from _steps(step)
        else:
            yield step


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
