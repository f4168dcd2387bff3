"""Losses as plain modules: tensors in, scalar out."""
