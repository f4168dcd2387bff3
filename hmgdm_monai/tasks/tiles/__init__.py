"""Classification of tiles."""
