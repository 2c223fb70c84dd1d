"""Splits, metrics with intervals, and the fitting of heads through Lightning."""
