"""The tiles of a slide: their positions, tissue and cells."""
