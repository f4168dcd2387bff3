"""Training steps: what a bundle config passes to an engine as ``iteration_update``."""
