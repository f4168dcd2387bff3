"""Figures of graphs, windows, denoising, training curves, attention, regions and survival."""
