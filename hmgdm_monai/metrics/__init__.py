"""Metrics of representations and superpixels."""
