"""MONAI transforms: each has an array version and a thin dictionary wrapper."""
