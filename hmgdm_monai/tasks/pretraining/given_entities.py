"""Latents that came with graphs of another program, as the entity encoder of a run."""

from __future__ import annotations

from hmgdm_monai.entities.given_entities import GivenEntities
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData


def given_entities(data: PretrainingData, edge_latents: bool) -> GivenEntities:
    """What stands in place of an entity encoder where the cohort's graphs come with latents.

    Args:
        data: whose cohort is of graphs; it is read here.
        edge_latents: whether edges are to carry latents, too.

    Raises:
        InputError: no file of the cohort can be used, or edges of one of them carry no latents.
    """
    cohort = data.cohort
    without = [unit.name for unit in cohort.store().units if not unit.settings["edge_latents"]]
    if edge_latents and without:
        raise InputError(
            f"{without[0]}: its edges carry no edge_attr with as many numbers as x, so they have no latents; set "
            "edge_latents false"
        )
    return GivenEntities(int(cohort.store()[0].vertex_latents.shape[1]), edge_latents)
