"""Heads: a bag of features in, slide scores and patch scores out."""
