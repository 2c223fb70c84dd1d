"""A run and slides in, slide predictions and patch scores out."""
