"""Stores of entity graphs, latents and region maps."""
