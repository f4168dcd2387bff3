"""Tiles of a slide: where they lie, what tissue and which cells they show."""
