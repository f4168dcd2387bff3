"""Training stages: what a bundle config wires into an engine."""
