"""Metrics of representations, predictions, attention and superpixels."""
