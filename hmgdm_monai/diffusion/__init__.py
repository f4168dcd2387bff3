"""Split into a visible and a hidden half, random draws, and noise, with the schedulers of diffusers."""
