"""Turn images into stored samples."""
