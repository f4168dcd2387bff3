"""Ignite handlers beside those of MONAI."""
