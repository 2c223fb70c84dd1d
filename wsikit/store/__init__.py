"""The patch store: the only door to zarr."""
