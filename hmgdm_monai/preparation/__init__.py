"""From images to stored samples."""
