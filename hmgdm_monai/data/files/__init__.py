"""File formats: files are written completely or not at all, and checked before they are read."""
