"""Embeddings, predictions and maps of new slides."""
