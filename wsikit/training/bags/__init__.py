"""Fit and run heads on bags of features."""
