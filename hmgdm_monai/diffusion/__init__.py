"""Subgraph split, noising and sampling around the schedulers of diffusers."""
