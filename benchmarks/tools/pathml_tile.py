"""PathML: its pipeline of one step, tissue detection, over every tile; pixels and masks into HDF5.

It writes every tile; those with enough tissue in their mask count as kept. With two workers it runs
on Dask, as it does by default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from dask.distributed import Client
from pathml.core import HESlide
from pathml.preprocessing import Pipeline, TissueDetectionHE
from protocol import LEAST_TISSUE, PATCH_PX, Job, serve


@cache
def client(workers: int) -> Client:
    """Open the workers once: after the warm-up they have been there already."""
    return Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)


def tile(job: Job) -> Callable[[], int]:
    """Tile the slide; the tool looks for tissue itself."""
    slide = HESlide(str(job.slide), name="slide", backend="openslide")
    slide.run(
        Pipeline([TissueDetectionHE(mask_name="tissue")]),
        distributed=job.workers > 1,
        client=client(job.workers) if job.workers > 1 else None,
        tile_size=PATCH_PX,
        write_dir=str(job.out),
    )

    def kept() -> int:
        shares = [(tile.masks["tissue"] > 0).mean() for tile in slide.tiles]
        return sum(share >= LEAST_TISSUE for share in shares)

    return kept


if __name__ == "__main__":
    serve(tile, "pathml")
