"""Where work runs: in this process, on local Dask workers, or on a Dask scheduler."""
