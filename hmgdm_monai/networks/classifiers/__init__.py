"""Classifiers of tiles that use a tile encoder."""
