"""Patch scores and their places become pictures and files that a pathologist can check."""
