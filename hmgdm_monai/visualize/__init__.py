"""Figures: graphs over tiles, windows, denoising, curves."""
