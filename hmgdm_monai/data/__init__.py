"""Manifest, slides, tiles, entity graphs and the stores that keep them."""
