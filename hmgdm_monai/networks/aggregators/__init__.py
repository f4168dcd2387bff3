"""Aggregators: from the tiles of a patient to one prediction."""
