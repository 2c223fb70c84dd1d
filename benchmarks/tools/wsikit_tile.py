"""wsikit itself, as `wsikit tile` runs it, with the workers already there after the warm-up."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache

from protocol import Job, serve

from wsikit.config import load_config
from wsikit.execution.pool import Pool, open_pool
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.preload import SHARD_TASKS
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store


def main() -> None:
    """Serve one job; close the pool at its end."""
    with ExitStack() as stack:

        @cache
        def pool(workers: int) -> Pool:
            return stack.enter_context(open_pool(workers, preload=[SHARD_TASKS]))

        def tile(job: Job) -> int:
            path = job.out / "store"
            run_tile(source_slides([job.slide]), path, load_config().tile, pool=pool(job.workers))
            return len(Store(path).slide(job.slide.stem).patches)

        serve(tile, "wsikit")


if __name__ == "__main__":
    main()
