"""The manifest of a cohort, and other tables."""
