"""Held-out predictions in, numbers with intervals and a report out."""
