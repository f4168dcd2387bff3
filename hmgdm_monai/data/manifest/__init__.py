"""Read the manifest of a cohort and other tables."""
