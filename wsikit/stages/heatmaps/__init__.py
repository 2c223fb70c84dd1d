"""Patch scores in, files a pathologist opens out."""
