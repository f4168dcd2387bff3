"""Aggregators: compute one prediction from the tiles of a patient."""
