"""Slides and plain images: readers, pages, scale."""
