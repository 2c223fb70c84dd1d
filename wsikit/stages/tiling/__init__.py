"""Slide files in, the foreground patches of a store out."""
