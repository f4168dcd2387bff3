"""Prediction for patients."""
