"""Turn whole-slide images into slide-level predictions and heatmaps a pathologist can check."""

__version__ = "0.1.0"
