"""Features or patches with labels in, a run out."""
