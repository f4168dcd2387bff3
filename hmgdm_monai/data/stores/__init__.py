"""Stores of graphs, latents and region maps."""
