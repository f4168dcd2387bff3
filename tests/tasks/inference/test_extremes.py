from __future__ import annotations

import numpy as np

from hmgdm_monai.tasks.inference.extremes import RANKS, Extremes, from_arrays, merged, to_arrays


def random_tiles(rng, tiles=7, entities=3, side=6):
    labels = rng.integers(-1, entities, (tiles, side, side))
    values = rng.normal(size=tiles * entities)
    values[4] = np.nan  # an entity on glass
    places = rng.integers(0, 1000, (tiles, 2))
    return rng.normal(size=tiles), values, np.repeat(np.arange(tiles), entities), labels, places


def test_the_extremes_of_a_slide_are_those_of_all_batches_together():
    rng, kept, everything = np.random.default_rng(0), Extremes(4), []
    for _ in range(5):
        tile_values, values, tile, labels, places = random_tiles(rng)
        kept.add(tile_values, values, tile, labels, places)
        for number in range(len(places)):
            theirs = values[tile == number]
            for rank in RANKS:
                entity = np.nanargmax(theirs) if rank.endswith("high") else np.nanargmin(theirs)
                value = tile_values[number] if rank.startswith("tile") else theirs[entity]
                everything.append((rank, value, theirs[entity], tuple(places[number]), labels[number] == entity))
    for rank in RANKS:
        expected = [one for one in everything if one[0] == rank]
        expected.sort(key=lambda one: one[1], reverse=rank.endswith("high"))
        found = kept.ranked(rank)
        assert len(found) == 4
        for one, (_, value, entity_value, place, mask) in zip(found, expected, strict=False):
            assert (one.value(rank), one.entity_value, one.location_px) == (value, entity_value, place)
            np.testing.assert_array_equal(one.mask, mask)


def test_arrays_keep_everything():
    kept = Extremes(3)
    kept.add(*random_tiles(np.random.default_rng(1)))
    arrays = to_arrays(5, kept)
    for rank in RANKS:
        for one, other in zip(from_arrays(5, rank, arrays), kept.ranked(rank), strict=True):
            assert (one.tile_value, one.entity_value, one.location_px) == (
                other.tile_value,
                other.entity_value,
                other.location_px,
            )
            np.testing.assert_array_equal(one.mask, other.mask)
    assert from_arrays(4, "tile_high", arrays) == []


def test_several_slides_are_merged_in_order():
    pairs = []
    for slide in range(3):
        kept = Extremes(3)
        kept.add(*random_tiles(np.random.default_rng(slide)))
        pairs += [(f"s{slide}", one) for one in kept.ranked("entity_low")]
    found = [one.entity_value for _, one in merged(pairs, "entity_low", 4)]
    assert found == sorted(one.entity_value for _, one in pairs)[:4]


def test_quantities_without_a_tile_value_rank_entities_alone():
    kept = Extremes(2)
    _, values, tile, labels, places = random_tiles(np.random.default_rng(0))
    kept.add(np.full(len(places), np.nan), values, tile, labels, places)
    assert kept.ranked("tile_high") == [] and len(kept.ranked("entity_high")) == 2
