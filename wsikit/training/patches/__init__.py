"""Fit and run networks on the pixels of patches."""
