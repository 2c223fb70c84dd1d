"""Take what was found of a data set into a store; what cannot be taken is named, the rest goes on.

Every data set goes through here: what is done is skipped, what changed is refused unless asked for,
each slide appears whole or not at all, and the bytes do not depend on the number of workers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from wsikit.errors import SlideError, StoreError, UsageError, WsikitError, nearest
from wsikit.slides.fingerprint import fingerprint, quick_stamp
from wsikit.stages.ingest.cohort_file import default_cohort, warnings_of, write_cohort
from wsikit.stages.ingest.collection import Collection, DataSet, LeftOut, Source
from wsikit.stages.ingest.copies import copies_apart
from wsikit.stages.ingest.picture_slide import Codec, write_collection
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.store.codecs import CodecName
from wsikit.store.recipe import recipe_id
from wsikit.store.status import StageStatus
from wsikit.store.store import Store

STAGE = "ingest"
ALGORITHM = 1
"""Raise when the same files and parameters would give other bytes."""

JPEG_QUALITY, SUBSAMPLING = 90, "420"


@dataclass(frozen=True)
class IngestOptions:
    """What all data sets have in common.

    Attributes:
        codec: how pictures are kept; 16-bit grey is always `zstd`.
        workers: threads; 0: one a processor core.
        overwrite: do it again, replacing what is there.
        slide_ids: only these; None for all.
        cohort: where the cohort goes; None: beside the store, `<STORE>.cohort.csv`.
    """

    codec: CodecName = "zstd"
    workers: int = 1
    overwrite: bool = False
    slide_ids: Sequence[str] | None = None
    cohort: Path | None = None


@dataclass(frozen=True)
class Ingested:
    """What became of a data set.

    Attributes:
        outcome: of each slide.
        cohort: the CSV that was written.
        left_out: files and rows that were not taken, with reasons.
    """

    outcome: Outcome
    cohort: Path
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class _Result:
    """What became of one slide."""

    source: Source
    status: StageStatus | None
    words: str
    left_out: tuple[LeftOut, ...] = ()


def ingest(
    found: DataSet,
    store_path: Path,
    options: IngestOptions | None = None,
    progress: Progress | None = None,
) -> Ingested:
    """Write a data set's slides into a store and its cohort beside it.

    Args:
        found: the data set.
        store_path: the store, made if it is not there.
        options: see there.
        progress: told of each slide.

    Raises:
        UsageError: nothing was found that could be taken, or a slide is named that is not there.
        StoreError: the store was made by another recipe.
    """
    options, progress = options or IngestOptions(), progress or Silent()
    _check(found, options)
    recipe = {
        "algorithm": ALGORITHM,
        "ingest": found.name,
        "codec": {"name": options.codec, "quality": JPEG_QUALITY, "subsampling": SUBSAMPLING},
        **found.recipe,
    }
    store = Store.create(store_path, recipe, options.overwrite)
    run = _Run(store, (options.codec, JPEG_QUALITY, SUBSAMPLING), options.overwrite)
    left_out, outcome = list(found.left_out), Outcome()
    with store.lock():
        chosen = [s for s in found.sources if _asked_for(s.slide_id, options)]
        broken = {i: why for i, why in found.broken.items() if _asked_for(i, options)}
        for line in (*(f"left out: {entry}" for entry in left_out), *found.notes):
            progress.say(line)
        progress.start(STAGE, len(chosen) + len(broken))
        for slide_id, reason in sorted(broken.items()):
            _fail(store, slide_id, reason, outcome, progress)
        for result in _results(run, chosen, options.workers):
            _record(store, result, outcome, progress)
            left_out += result.left_out
        progress.finish()
        taken = [s for s in found.sources if store.slide_path(s.slide_id).is_dir()]
        apart = copies_apart(store, taken)
        cohort = options.cohort or default_cohort(store_path)
        write_cohort(cohort, replace(found, notes=[*found.notes, *apart]), taken, left_out)
    for line in (*apart, *warnings_of(taken)):
        progress.say(line)
    return Ingested(outcome, cohort, tuple(left_out))


def _check(found: DataSet, options: IngestOptions) -> None:
    known = {s.slide_id for s in found.sources} | set(found.broken)
    if not known:
        first = f" ({found.left_out[0]})" if found.left_out else ""
        raise UsageError(
            f"nothing of {found.name} was found that could be taken{first}",
            "give the folder of the data set as it is published",
        )
    for slide_id in options.slide_ids or ():
        if slide_id not in known:
            raise UsageError(f"{found.name} has no slide '{slide_id}'", nearest(slide_id, known))


def _asked_for(slide_id: str, options: IngestOptions) -> bool:
    return options.slide_ids is None or slide_id in options.slide_ids


def _results(run: _Run, sources: Sequence[Source], workers: int) -> Iterator[_Result]:
    """Do the slides by several threads, and give them back in their order."""
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="ingest")
    try:
        yield from pool.map(run.take, sources)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _record(store: Store, result: _Result, outcome: Outcome, progress: Progress) -> None:
    slide_id, status = result.source.slide_id, result.status
    if status is None:
        outcome.skipped.append(slide_id)
        progress.advance(f"{slide_id}: already done")
    elif status.state == "failed":
        _fail(store, slide_id, status.reason, outcome, progress)
    else:
        for entry in result.left_out:
            progress.say(f"left out: {entry}")
        store.set_status(slide_id, STAGE, status)
        outcome.done.append(slide_id)
        progress.advance(f"{slide_id}: {result.words}")


def _fail(store: Store, slide_id: str, reason: str, outcome: Outcome, progress: Progress) -> None:
    outcome.failed[slide_id] = reason
    store.set_status(slide_id, STAGE, StageStatus("failed", reason=reason))
    progress.advance(f"{slide_id}: FAILED: {reason}")


@dataclass(frozen=True)
class _Run:
    """Do one slide after the other; safe to be called from several threads."""

    store: Store
    codec: Codec
    overwrite: bool

    def take(self, source: Source) -> _Result:
        """Make one slide, whatever becomes of it."""
        start = time.perf_counter()
        try:
            stamp = tuple(pair for path in source.files for pair in quick_stamp(path))
            if self._unchanged(source, stamp):
                return _Result(source, None, "")
            result = self._make(source)
        except (WsikitError, OSError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            return _Result(source, StageStatus("failed", reason=reason), reason)
        if result.status is None:
            return result
        seconds = round(time.perf_counter() - start, 3)
        asked = self._asked(source)
        return replace(
            result, status=replace(result.status, seconds=seconds, stamp=stamp, source=asked)
        )

    def _asked(self, source: Source) -> str:
        """Return the identity of all that decides a slide, the files' content apart."""
        return recipe_id({**self.store.tile_recipe, "settings": dict(source.settings)})

    def _unchanged(self, source: Source, stamp: tuple[tuple[int, int], ...]) -> bool:
        """Tell whether an earlier run took these very files, judged without reading them."""
        if self.overwrite:
            return False
        try:
            status = self.store.status(source.slide_id).get(STAGE)
            if status is None or (status.stamp, status.source) != (stamp, self._asked(source)):
                return False
            return self.store.slide(source.slide_id).recipe_id == status.recipe_id
        except (WsikitError, OSError):
            return False

    def _make(self, source: Source) -> _Result:
        digests = [fingerprint(path) for path in source.files]
        recipe = {
            **self.store.tile_recipe,
            "source": _identity(digests),
            "settings": dict(source.settings),
        }
        identity = recipe_id(recipe)
        status = StageStatus("done", identity)
        if self.store.slide_path(source.slide_id).is_dir() and not self.overwrite:
            if self.store.slide(source.slide_id).recipe_id == identity:
                return _Result(source, status, "already there")
            raise StoreError(
                f"the store holds '{source.slide_id}' made from other files or settings",
                "use --overwrite to replace it and its features",
            )
        pictures = _with_origins(source.open(), digests)
        if not pictures.facts:
            raise SlideError("there is no picture of it", "check the files")
        codec: Codec = ("zstd", *self.codec[1:]) if pictures.grey else self.codec
        lost = [LeftOut(source.slide_id, note) for note in pictures.notes]
        try:
            damaged = write_collection(
                self.store, source.slide_id, pictures, recipe, codec,
                lambda reason: lost.append(LeftOut(source.slide_id, reason)),
            )  # fmt: skip
        except SlideError as error:
            first = f" ({lost[-1].reason})" if len(lost) > len(pictures.notes) else ""
            raise SlideError(f"{error.what}{first}", error.fix) from error
        kept = len(pictures.facts) - damaged
        words = f"{kept} pictures" if kept != 1 else "1 picture"
        return _Result(source, replace(status, damaged=damaged), words, tuple(lost))


def _identity(digests: Sequence[str]) -> str:
    """Return one fingerprint of all files of a slide, in their order; no name enters it."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _with_origins(pictures: Collection, digests: Sequence[str]) -> Collection:
    """Note which file each picture is, unless it is noted already what it was cut from."""
    if len(digests) != len(pictures.facts) or any("origin" in own for own in pictures.facts):
        return pictures
    facts = [{**own, "origin": d} for own, d in zip(pictures.facts, digests, strict=True)]
    return replace(pictures, facts=facts)
