"""Regions of the dense task by their names in a config."""

from __future__ import annotations

from typing import Any

import pytest

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.build_prior import PRIORS, build_prior
from hmgdm_monai.transforms.cell_prior import ImportedPrior, NucleusPrior, SuperpixelPrior


@pytest.mark.parametrize(
    ("settings", "kind", "regions"),
    [
        ({"name": "nuclei"}, NucleusPrior, 3),
        ({"name": "superpixels", "max_superpixels": 60}, SuperpixelPrior, 60),
        ({"name": "imported"}, ImportedPrior, 3),
        ({"name": "imported", "cell_classes": ["tumor", "stroma"], "cell_labels": "classes"}, ImportedPrior, 4),
    ],
)
def test_a_name_gives_its_prior_with_its_regions(settings: dict[str, Any], kind: type, regions: int) -> None:
    prior = build_prior(**settings)
    assert type(prior) is kind and len(prior.names) == regions


def test_the_default_is_nuclei_and_all_names_are_known() -> None:
    assert build_prior().settings() == NucleusPrior().settings()
    assert len({type(build_prior(name)) for name in PRIORS}) == len(PRIORS)


def test_another_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="'nucleus'; choose one of nuclei, superpixels, imported"):
        build_prior("nucleus")
