"""Files in and out: whole or not at all, checked before they are read."""
