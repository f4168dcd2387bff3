"""Classifiers of tiles on a tile encoder."""
