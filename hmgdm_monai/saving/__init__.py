"""Trained networks as files and folders."""
