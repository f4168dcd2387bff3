"""Save trained networks to files and folders, and load them."""
