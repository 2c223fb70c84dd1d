"""How good a classifier is, and how sure of that one may be."""
