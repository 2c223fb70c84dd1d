"""Stain normalisation: pure functions on uint8 arrays and their histograms."""
