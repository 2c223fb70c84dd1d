"""Go over a store's slides one by one: skip what is done, record what fails, go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wsikit.errors import StoreError, UsageError, WsikitError, nearest
from wsikit.stages.progress import Outcome, Progress
from wsikit.store.status import StageStatus, State
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide


def chosen_slides(store: Store, slide_ids: Sequence[str] | None) -> list[str]:
    """Return the slides to work on: those named, else all that are tiled.

    Raises:
        StoreError: the store has no tiled slide.
        UsageError: a named slide is not in the store.
    """
    tiled = store.slide_ids()
    if slide_ids is not None:
        for name in slide_ids:
            if name not in tiled:
                raise UsageError(f"{store.path}: holds no slide '{name}'", nearest(name, tiled))
        return list(slide_ids)
    if not tiled:
        raise StoreError(f"{store.path}: no slide is tiled yet", "run wsikit tile first")
    return tiled


def run_slides(
    store: Store,
    stage: str,
    slide_ids: Sequence[str],
    recipe_of: Callable[[StoredSlide], str],
    done_recipe: Callable[[StoredSlide], str | None],
    work: Callable[[StoredSlide, str], str],
    progress: Progress,
    overwrite: bool = False,
) -> Outcome:
    """Run one stage over slides.

    Args:
        store: an open store, locked by the caller.
        stage: name under which outcomes are recorded.
        slide_ids: the slides.
        recipe_of: the recipe id that the stage would have for a slide.
        done_recipe: the recipe id of what is stored, or None where nothing is.
        work: does one slide, given its recipe id; returns a few words on it.
        progress: told of each slide.
        overwrite: redo all of them, whatever is there.

    Returns:
        What became of each slide.
    """
    outcome = Outcome()
    progress.start(stage, len(slide_ids))
    for slide_id in slide_ids:
        start = time.perf_counter()
        recipe = ""
        try:
            slide = store.slide(slide_id)
            recipe = recipe_of(slide)
            present = None if overwrite else done_recipe(slide)
            if present == recipe:
                note_done(store, slide_id, stage, recipe)
                outcome.skipped.append(slide_id)
                progress.advance(f"{slide_id}: already done")
                continue
            if present is not None:
                raise StoreError(
                    f"{stage} was done by another recipe", "use --overwrite to redo it"
                )
            words = work(slide, recipe)
            status = StageStatus("done", recipe, seconds=_since(start))
            outcome.done.append(slide_id)
        except (WsikitError, OSError, MemoryError) as error:
            status, words = _failed(outcome, slide_id, recipe, error, start)
        store.set_status(slide_id, stage, status)
        progress.advance(f"{slide_id}: {words}")
    progress.finish()
    return outcome


def note_done(store: Store, slide_id: str, stage: str, recipe: str, state: State = "done") -> None:
    """Record that a stage's work is there, where the record does not say so yet.

    A kill can come between the work and its record; and where another recipe was tried and refused,
    the record says `failed` of work that is still good.

    Args:
        store: an open store, locked by the caller.
        slide_id: the slide.
        stage: name under which outcomes are recorded.
        recipe: the recipe id of the work.
        state: `done` or `empty`.
    """
    try:
        known = store.status(slide_id).get(stage)
    except StoreError:  # a damaged record is begun anew
        known = None
    if known is None or (known.state, known.recipe_id) != (state, recipe):
        store.set_status(slide_id, stage, StageStatus(state, recipe))


def _failed(
    outcome: Outcome, slide_id: str, recipe: str, error: BaseException, start: float
) -> tuple[StageStatus, str]:
    reason = str(error) or type(error).__name__
    outcome.failed[slide_id] = reason
    return StageStatus("failed", recipe, reason, _since(start)), f"FAILED: {reason}"


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)
