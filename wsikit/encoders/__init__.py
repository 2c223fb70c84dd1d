"""Encoders: pixels in, one feature vector a patch out."""
