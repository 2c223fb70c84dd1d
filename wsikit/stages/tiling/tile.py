"""Tile: slide files in, the store's foreground patches out.

A bad slide is recorded with its reason and the rest go on; a finished slide is skipped without
being read; a killed run continues from its last finished shard.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wsikit.config import TileConfig
from wsikit.errors import StoreError, WsikitError
from wsikit.execution.pool import Pool, SerialPool, Task
from wsikit.slides.fingerprint import quick_stamp
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.tiling.held_slide import release_slide
from wsikit.stages.tiling.region_of_interest import check_region
from wsikit.stages.tiling.shard import tile_shard
from wsikit.stages.tiling.slide import (
    BegunSlide,
    SlideJob,
    begin_slide,
    draw_preview,
    finish_slide,
    region_rule,
    slide_recipe,
    tile_recipe,
)
from wsikit.stages.tiling.stain_reference import keep_reference
from wsikit.stain.methods import check_reference
from wsikit.stain.reference import load_reference
from wsikit.store.recipe import recipe_id
from wsikit.store.status import StageStatus, State
from wsikit.store.store import Store

STAGE = "tile"


def run_tile(
    sources: Sequence[SourceSlide],
    store_path: Path,
    config: TileConfig,
    *,
    pool: Pool | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    strict: bool = False,
    preview: bool = False,
) -> Outcome:
    """Tile slides into a store; a slide that fails is recorded and the rest go on.

    Args:
        sources: the slides.
        store_path: the store, made if it is not there.
        config: how to tile.
        pool: where to run; default in this process.
        progress: told of each slide.
        overwrite: tile all of them again, whatever is there.
        strict: fail a slide of which a patch cannot be decoded, instead of doing without it.
        preview: also draw what was kept and dropped, into `previews/` of the store.

    Returns:
        What became of each slide.

    Raises:
        StoreError: the store cannot be used as asked.
    """
    check_store(sources, store_path, config, overwrite)
    store = Store.create(store_path, tile_recipe(config), overwrite)
    with store.lock():
        config = keep_reference(store, config)
        run = _Run(store, pool or SerialPool(), progress or Silent())
        run.progress.start(STAGE, len(sources))
        for source in sources:
            absolute = replace(source, path=source.path.absolute())
            job = SlideJob(absolute, store_path.resolve(), config, overwrite, strict, preview)
            if _unchanged(store, job):
                run.skip(job)
            else:
                run.begin(job)
        try:
            run.work()
        finally:
            release_slide()
            run.progress.finish()
        return run.outcome


def check_store(
    sources: Sequence[SourceSlide], path: Path, config: TileConfig, overwrite: bool
) -> None:
    """Refuse early, before workers start, a store that cannot take these slides.

    Raises:
        StoreError: it was made by another recipe and overwriting was not asked for, or would leave
            slides of the old recipe behind.
        ConfigError: the stain reference cannot be read, or a region file is not there.
    """
    if config.stain.method != "none":
        check_reference(config.stain.method, load_reference(config.stain.reference))
    check_region(region_rule(config), [source.slide_id for source in sources])
    recipe = tile_recipe(config)
    if overwrite and (path / "wsikit.json").exists():
        store = Store(path)
        left = set(store.slide_ids()) - {source.slide_id for source in sources}
        if left and store.tile_recipe != recipe:
            raise StoreError(
                f"{path}: {len(left)} slides of another recipe would be left ({sorted(left)[0]})",
                "name them too, or use another store",
            )
    Store.create(path, recipe, overwrite)


def _unchanged(store: Store, job: SlideJob) -> StageStatus | None:
    """Return the outcome of an earlier run that still holds, judged without reading the slide."""
    if job.overwrite:
        return None
    slide_id = job.source.slide_id
    try:
        status = store.status(slide_id).get(STAGE)
        if status is None or status.state == "failed" or (job.strict and status.damaged):
            return None
        if status.state == "done" and store.slide(slide_id).recipe_id != status.recipe_id:
            return None
        same_files = status.stamp == tuple(quick_stamp(job.source.path))
        same_recipe = status.recipe_id == recipe_id(slide_recipe(job, status.source))
    except (WsikitError, OSError):
        return None
    return status if same_files and same_recipe else None


class _Run:
    """Keep the pool fed, shards before new slides, and record what comes back."""

    def __init__(self, store: Store, pool: Pool, progress: Progress) -> None:
        self.store, self.pool, self.progress = store, pool, progress
        self.outcome = Outcome()
        self._queue: deque[Task] = deque()
        self._begun: dict[str, BegunSlide] = {}
        self._left: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._failed: set[str] = set()

    def skip(self, job: SlideJob) -> None:
        """Take a slide as done by an earlier run."""
        slide_id = job.source.slide_id
        self.outcome.skipped.append(slide_id)
        if job.preview and self.store.slide_path(slide_id).is_dir():
            draw_preview(self.store, slide_id)
        self.progress.advance(f"{slide_id}: already done")

    def begin(self, job: SlideJob) -> None:
        """Queue a slide."""
        self._queue.append(Task(("begin", job.source.slide_id), begin_slide, (job,)))

    def work(self) -> None:
        """Run until every queued slide has ended."""
        in_flight = 0
        while self._queue or in_flight:
            while self._queue and in_flight < self.pool.slots:
                task = self._queue.popleft()
                _, slide_id = task.key
                if slide_id in self._failed:
                    continue
                self._started.setdefault(slide_id, time.perf_counter())
                self.pool.submit(task)
                in_flight += 1
            if in_flight:
                self._take(self.pool.next_done())
                in_flight -= 1

    def _take(self, task: Task) -> None:
        step, slide_id = task.key
        try:
            result = task.result()
        except WsikitError as error:
            self._fail(slide_id, str(error))
        except OSError as error:
            self._fail(slide_id, _os_reason(slide_id, error))
        except MemoryError:
            self._fail(slide_id, f"{slide_id}: out of memory: use fewer --workers")
        else:
            if slide_id in self._failed:
                return
            if step == "begin":
                self._on_begun(result)
            elif step == "shard":
                self._on_shard(slide_id)
            else:
                self._on_finished(slide_id, *result)

    def _on_begun(self, begun: BegunSlide) -> None:
        slide_id = begun.job.source.slide_id
        self._begun[slide_id] = begun
        for note in begun.notes:
            self.progress.say(f"{slide_id}: {note}")
        if begun.stored is not None:
            self._on_finished(slide_id, *begun.stored)
            return
        self._left[slide_id] = len(begun.pending)
        shards = [Task(("shard", slide_id), tile_shard, (begun.task, p)) for p in begun.pending]
        self._queue.extendleft(reversed(shards))
        if not shards:
            self._finish(slide_id)

    def _on_shard(self, slide_id: str) -> None:
        self._left[slide_id] -= 1
        if not self._left[slide_id]:
            self._finish(slide_id)

    def _finish(self, slide_id: str) -> None:
        begun = replace(self._begun[slide_id], pending=[])
        self._queue.appendleft(Task(("finish", slide_id), finish_slide, (begun,)))

    def _on_finished(self, slide_id: str, kept: int, damaged: int) -> None:
        begun = self._begun.pop(slide_id)
        state: State = "done" if kept else "empty"
        self._record(slide_id, StageStatus(state, begun.recipe, damaged=damaged), begun)
        (self.outcome.done if kept else self.outcome.empty).append(slide_id)
        found = f"{kept} patches" if kept else "no tissue found"
        lost = f", {damaged} left out: they cannot be decoded" if damaged else ""
        self.progress.advance(f"{slide_id}: {found}{lost}")

    def _fail(self, slide_id: str, reason: str) -> None:
        if slide_id in self._failed:
            return
        self._failed.add(slide_id)
        self._record(
            slide_id, StageStatus("failed", reason=reason), self._begun.pop(slide_id, None)
        )
        self.outcome.failed[slide_id] = reason
        self.progress.advance(f"{slide_id}: FAILED: {reason}")

    def _record(self, slide_id: str, status: StageStatus, begun: BegunSlide | None) -> None:
        seconds = round(time.perf_counter() - self._started[slide_id], 3)
        status = replace(status, seconds=seconds)
        if begun is not None:
            status = replace(status, source=begun.source, stamp=begun.task.stamp)
        self.store.set_status(slide_id, STAGE, status)


def _os_reason(slide_id: str, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"{slide_id}: the disk is full: make room, then run the same command again"
    return f"{error.filename or slide_id}: {error.strerror or error}"
