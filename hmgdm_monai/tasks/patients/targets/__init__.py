"""What is predicted for a patient: survival, a class, a grade, a number."""
