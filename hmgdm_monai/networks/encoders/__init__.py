"""Encoders of graphs and of tiles."""
