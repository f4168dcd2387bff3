"""Entity encoder of a run whose graphs come with latents from another program."""

from __future__ import annotations

from hmgdm_monai.entities.given_entities import GivenEntities
from hmgdm_monai.errors import InputError
from hmgdm_monai.tasks.pretraining.graph_data import PretrainingData


def given_entities(data: PretrainingData, edge_latents: bool) -> GivenEntities:
    """Return the entity encoder of a cohort whose graphs come with latents.

    Args:
        data: data of a cohort of graphs; the cohort is read here.
        edge_latents: whether edges have latents, too.

    Raises:
        InputError: no file of the cohort can be used, or the edges of a file have no latents.
    """
    cohort = data.cohort
    without = [unit.name for unit in cohort.store().units if not unit.settings["edge_latents"]]
    if edge_latents and without:
        raise InputError(
            f"{without[0]}: its edges carry no edge_attr with as many numbers as x, so they have no latents; set "
            "edge_latents false"
        )
    return GivenEntities(int(cohort.store()[0].vertex_latents.shape[1]), edge_latents)
