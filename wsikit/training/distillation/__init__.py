"""Fit an instance classifier by self-distillation."""
