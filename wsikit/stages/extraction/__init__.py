"""Patches in, one feature vector a patch out."""
