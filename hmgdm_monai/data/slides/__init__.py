"""Readers of slides and plain images, their pages and their scale."""
