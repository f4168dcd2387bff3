"""Aggregators by name, for configs and checkpoints."""

from __future__ import annotations

from typing import Any

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.aggregators.amil import AMIL
from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator
from hmgdm_monai.networks.aggregators.deep_graph_conv import DeepGraphConv
from hmgdm_monai.networks.aggregators.mean_pool import MeanPool
from hmgdm_monai.networks.aggregators.patch_gcn import PatchGCN

AGGREGATORS: dict[str, type[BagAggregator]] = {
    "mean": MeanPool,
    "amil": AMIL,
    "patch_gcn": PatchGCN,
    "deep_graph_conv": DeepGraphConv,
}


def aggregator_class(name: str) -> type[BagAggregator]:
    """The class behind a name.

    Raises:
        InputError: no aggregator is called so.
    """
    if name not in AGGREGATORS:
        raise InputError(f"no aggregator is called {name!r}; there are {', '.join(AGGREGATORS)}")
    return AGGREGATORS[name]


def needs_no_graph(name: str) -> bool:
    """Whether an aggregator does without a tile graph.

    Args:
        name: of :data:`AGGREGATORS`.

    Raises:
        InputError: no aggregator is called so.
    """
    return not aggregator_class(name).uses_graph


def build_aggregator(name: str, in_channels: int, num_outputs: int = 1, **settings: Any) -> BagAggregator:
    """An aggregator with its own settings (``hidden_dim``, ``dropout``, ...).

    Raises:
        InputError: an unknown name, or a setting that this aggregator does not have.
    """
    chosen = aggregator_class(name)
    try:
        aggregator = chosen(in_channels, num_outputs, **settings)
    except TypeError as error:
        raise InputError(f"aggregator {name!r} does not take these settings: {error}") from error
    aggregator.settings = {"name": name, "in_channels": int(in_channels), "settings": dict(settings)}
    return aggregator
