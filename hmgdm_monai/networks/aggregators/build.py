"""Build aggregators by name, for configs and checkpoints."""

from __future__ import annotations

from typing import Any

from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.aggregators.amil import AMIL
from hmgdm_monai.networks.aggregators.bag_aggregator import BagAggregator
from hmgdm_monai.networks.aggregators.clam import CLAM
from hmgdm_monai.networks.aggregators.deep_graph_conv import DeepGraphConv
from hmgdm_monai.networks.aggregators.mean_pool import MeanPool
from hmgdm_monai.networks.aggregators.patch_gcn import PatchGCN
from hmgdm_monai.networks.aggregators.spatial_gat import SpatialGAT
from hmgdm_monai.networks.aggregators.transformer import TransformerMIL

AGGREGATORS: dict[str, type[BagAggregator]] = {
    "mean": MeanPool,
    "amil": AMIL,
    "clam": CLAM,
    "transformer": TransformerMIL,
    "patch_gcn": PatchGCN,
    "deep_graph_conv": DeepGraphConv,
    "spatial_gat": SpatialGAT,
}


def aggregator_class(name: str) -> type[BagAggregator]:
    """Find the class of an aggregator.

    Raises:
        InputError: no aggregator has this name.
    """
    if name not in AGGREGATORS:
        raise InputError(f"no aggregator is called {name!r}; there are {', '.join(AGGREGATORS)}")
    return AGGREGATORS[name]


def needs_no_graph(name: str) -> bool:
    """Whether an aggregator works without a tile graph.

    Args:
        name: key of :data:`AGGREGATORS`.

    Raises:
        InputError: no aggregator has this name.
    """
    return not aggregator_class(name).uses_graph


def build_aggregator(name: str, in_channels: int, num_outputs: int = 1, **settings: Any) -> BagAggregator:
    """Build an aggregator.

    Args:
        name: key of :data:`AGGREGATORS`.
        in_channels: number of input features D.
        num_outputs: number of outputs K.
        **settings: other arguments of the aggregator (``hidden_dim``, ``dropout``, ...).

    Raises:
        InputError: the name is unknown, or the aggregator does not have a setting.
    """
    chosen = aggregator_class(name)
    try:
        aggregator = chosen(in_channels, num_outputs, **settings)
    except TypeError as error:
        raise InputError(f"aggregator {name!r} does not take these settings: {error}") from error
    aggregator.settings = {"name": name, "in_channels": int(in_channels), "settings": dict(settings)}
    return aggregator
