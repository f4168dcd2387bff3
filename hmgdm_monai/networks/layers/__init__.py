"""Layers of the networks: graph convolutions, attention, pooling, embeddings and heads."""
