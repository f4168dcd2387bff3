"""The steps from the pixels of a tile to its entity graph, as a MONAI ``Compose`` over a dictionary.

The dictionary has ``image`` (3, S, S) uint8, ``mpp`` (microns per pixel, None if unknown) and ``outlines`` ((S, S)
cells, None if there are none). The last transform adds ``graph``.
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
    """Build the default steps: stain normalization (optional), entities, graph.

    Args:
        cutter: divides a tile into entities.
        stain: normalizes the tile first; None keeps the colors.
    """
    first = [] if stain is None or stain.method is None else [NormalizeStaind("image", stain.method)]
    return Compose([*first, CutEntitiesd("image", cutter), BuildEntityGraphd("image")])


def tile_graph(
    transforms: Compose, image: Any, mpp: float | None = None, outlines: np.ndarray | None = None
) -> EntityGraph:
    """Compute the entity graph of one tile, which keeps the tile after the image transforms.

    Args:
        transforms: steps from a tile to its graph.
        image: (3, S, S) uint8.
        mpp: microns per pixel; None if unknown.
        outlines: (S, S) integer, cells of another program; None if there are none.

    Raises:
        NoEntitiesError: the tile shows no entity.
        LeftOutTileError: the tile is left out because of its quality.
        InputError: no transform has made a graph.
    """
    return graph_in(transformed(transforms, {"image": image, "mpp": mpp, "outlines": outlines}))


def graph_in(sample: Mapping[Any, Any]) -> EntityGraph:
    """Return the graph that the tile transforms have added to a sample.

    Raises:
        InputError: no transform has made a graph.
    """
    graph = sample.get("graph")
    if not isinstance(graph, EntityGraph):
        raise InputError("the tile transforms make no graph; the last of them must be BuildEntityGraphd")
    return graph


def transformed(transforms: Compose, sample: dict[str, Any]) -> dict[str, Any]:
    """Apply transforms to a sample.

    Args:
        transforms: steps from a tile to its graph, or a part of them.
        sample: dictionary with the keys that the transforms read.

    Raises:
        InputError: a transform raised it. ``Compose`` wraps errors, but callers skip tiles by the type of the error.
    """
    try:
        return transforms(sample)
    except RuntimeError as error:
        if (found := input_error_in(error)) is not None:
            raise found from None
        raise


def image_transforms(transforms: Compose) -> Compose:
    """The transforms that change the image: all before the tile is divided into entities."""
    steps = list(_steps(transforms))
    cuts = [place for place, step in enumerate(steps) if isinstance(step, CutEntitiesd | BuildEntityGraphd)]
    return Compose(steps[: cuts[0]] if cuts else steps)


def cutter_in(transforms: Compose) -> EntityCutter | None:
    """The cutter that divides tiles into entities; None if no transform of this package does."""
    return next((step.cutter for step in _steps(transforms) if isinstance(step, CutEntitiesd)), None)


def reads_cells(transforms: Compose) -> bool:
    """Whether a transform reads cell outlines."""
    return any(getattr(step, "reads_cells", False) for step in _steps(transforms))


def described(value: Any) -> Any:
    """Describe transforms and their parts as JSON values: equal transforms give equal values.

    For transforms of this package, their ``settings``; for others, their class and public attributes.

    Args:
        value: a transform, a sequence of transforms, or an attribute of one.
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
    # R is the random state of MONAI's Randomizable.
    public = {name: one for name, one in vars(value).items() if not name.startswith("_") and name != "R"}
    return {"class": _name(type(value)), **{name: described(one) for name, one in sorted(public.items())}}


def _steps(transforms: Compose) -> Iterator[Callable[..., Any]]:
    """Iterate over the transforms, including those of nested ``Compose``."""
    for step in transforms.transforms:
        if isinstance(step, Compose):
            yield from _steps(step)
        else:
            yield step


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
