"""Pre-training by restoring what was hidden of pictures at four magnifications."""
