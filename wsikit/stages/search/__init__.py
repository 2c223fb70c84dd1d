"""Settings that do best on validation slides."""
