"""MONAI transforms: array version first, thin dictionary wrapper after it."""
