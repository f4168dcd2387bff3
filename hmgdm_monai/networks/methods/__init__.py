"""Networks of self-supervised methods."""
