"""Heatmap: patch scores in, files a pathologist opens out.

A slide that cannot be drawn is named with its reason and the rest go on; what is there already and
would come out the same is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsikit.atomic import ensure_folder, locked, write_bytes
from wsikit.config import HeatmapConfig
from wsikit.errors import StoreError, UsageError, WsikitError
from wsikit.heatmap.sheet import TruthOutline
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.heatmaps.cohort_report import small_heatmap, thumbnail_file, write_cohort_report
from wsikit.stages.heatmaps.file_names import files_of, holder
from wsikit.stages.heatmaps.formats import FORMATS, GRAD_CAM
from wsikit.stages.heatmaps.made import FOLDER, Made, drawing_recipe, file_digest
from wsikit.stages.heatmaps.pictures import lesion_outline
from wsikit.stages.heatmaps.pixels import NoPixelsError, slide_files, slide_pixels
from wsikit.stages.heatmaps.run_scores import predictions, run_names, slide_scores
from wsikit.stages.heatmaps.slide_heatmap import RunScores, SlideHeatmap
from wsikit.stages.heatmaps.stride import Scorer, stride_detail
from wsikit.stages.heatmaps.truth_outline import truth_outline
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

if TYPE_CHECKING:
    from wsikit.stages.heatmaps.grad_cam import GradCam
    from wsikit.stages.heatmaps.restride import Restride

STAGE = "heatmap"


def run_heatmap(
    store_path: Path,
    run_path: Path,
    out: Path | None,
    config: HeatmapConfig,
    *,
    others: Sequence[Path] = (),
    slides: Path | None = None,
    slide_ids: Sequence[str] | None = None,
    truth: Path | None = None,
    scorer: Scorer | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Draw the heatmap of every slide that was predicted, and of those without tissue.

    Args:
        store_path: the store that holds the slides.
        run_path: the run, or the folder `wsikit predict -o` wrote to.
        out: receives the files; default the run's `heatmaps/`.
        config: which score, which formats.
        others: further runs, for the formats that can switch between them.
        slides: folder or cohort CSV of the slides' own files; None: pixels come from the store.
        slide_ids: only these; default all there are.
        truth: folder of masks or drawn areas to outline; see `known_regions`.
        scorer: what `heatmap.stride` and Grad-CAM score with, where `run_path` is no run.
        progress: told of each slide.
        overwrite: draw again what is there.

    Returns:
        What became of each slide.

    Raises:
        StoreError: nothing was predicted yet.
        UsageError: the call is wrong, the folder cannot be written, or another run writes there.
    """
    progress = progress or Silent()
    store, runs = Store(store_path), [RunFolder(run_path), *map(RunFolder, others)]
    names = run_names([run.path for run in runs])
    chosen = _chosen(store, runs[0], slide_ids)
    if truth is not None and not truth.is_dir():
        raise UsageError(f"--truth {truth}: there is no such folder", "check the path")
    folder = out or runs[0].heatmaps
    for part in (folder, folder / FOLDER):
        ensure_folder(part)
    job = _Job(
        store, runs, names, folder, config, truth, slide_files(slides),
        scorer or Scorer(), progress, overwrite,
    )  # fmt: skip
    _check_kind(job, chosen)
    outcome = Outcome()
    with locked(folder / FOLDER / ".lock", _busy(folder)):
        progress.start(STAGE, len(chosen))
        for slide_id in chosen:
            progress.advance(_draw(job, slide_id, outcome))
        progress.finish()
        if config.cohort:
            write_cohort_report(store, runs[0], folder, config, job.meaning, outcome)
    return outcome


def _busy(folder: Path) -> UsageError:
    return UsageError(
        f"{folder}: another wsikit run is writing to this folder",
        "wait for it to end, or choose another one with -o",
    )


@dataclass(frozen=True)
class _Job:
    """All that drawing any slide takes; the arguments of `run_heatmap`, opened."""

    store: Store
    runs: Sequence[RunFolder]
    names: Sequence[str]
    folder: Path
    config: HeatmapConfig
    truth: Path | None
    files: Mapping[str, SourceSlide] | None
    scorer: Scorer
    progress: Progress
    overwrite: bool
    meanings: list[str] = field(default_factory=list)

    @property
    def meaning(self) -> str:
        """What the slides' colours stand for; where they differ, each of it."""
        return "; ".join(dict.fromkeys(self.meanings))

    @cached_property
    def predicted(self) -> Mapping[str, Mapping[str, str]]:
        """The first run's predictions by slide."""
        return predictions(self.runs[0])

    @cached_property
    def restride(self) -> Restride:
        """What scores at a finer stride; made once, as it loads the encoder."""
        from wsikit.stages.heatmaps.restride import Restride  # torch, which drawing needs not

        return Restride(self.store, self.runs[0], self.config, self.scorer, self.progress.say)

    @cached_property
    def grad_cam(self) -> GradCam:
        """What shows pictures to the run's networks; made once, as it loads them."""
        from wsikit.stages.heatmaps.grad_cam import GradCam  # torch

        model = self.scorer.model
        run = self.runs[0] if model is None else RunFolder(model)
        return GradCam(self.store, run, self.scorer.device, self.progress.say)


def _check_kind(job: _Job, chosen: Sequence[str]) -> None:
    """See that what is asked for can be had of this store and run, before anything is drawn.

    Raises:
        WsikitError: no slide could be scored at a stride, or no picture shown to a network.
    """
    pictures = _holds_pictures(job.store, chosen)
    if job.config.stride is not None:
        if pictures:
            raise UsageError(
                f"{job.store.path}: holds single pictures, and there is nothing to read between "
                "them",
                "leave --stride out",
            )
        job.restride  # noqa: B018 what keeps all slides from being scored is told at once
    if GRAD_CAM in job.config.formats:
        if pictures is False:
            raise UsageError(
                f"{job.store.path}: holds slides, and Grad-CAM is drawn of single pictures, which "
                "wsikit ingest stores",
                "leave grad-cam out of --format",
            )
        drawn = all(Made(job.folder, slide_id).has(GRAD_CAM) for slide_id in chosen)
        if job.overwrite or not drawn:
            job.grad_cam  # noqa: B018 likewise; where all is drawn, torch need not be loaded


def _holds_pictures(store: Store, chosen: Sequence[str]) -> bool | None:
    """Tell whether the slides are collections of pictures: the first that can be read tells.

    None: none can be read, as where the store is not the one that was scored.
    """
    for slide_id in chosen:
        try:
            return store.slide(slide_id).is_collection
        except WsikitError:  # told of when it is drawn
            continue
    return None


def _chosen(store: Store, run: RunFolder, slide_ids: Sequence[str] | None) -> list[str]:
    """Return the slides to draw: those named, else all that are scored or without tissue."""
    scored = {path.stem for path in run.patches.glob("*.parquet")}
    if not scored:
        absent = "" if run.path.is_dir() else ": there is no such folder"
        raise StoreError(f"{run.path}: no patch scores yet{absent}", "run wsikit predict first")
    if slide_ids is None:
        return sorted(scored | set(_empty(store, set(store.slide_ids()) - scored)))
    bare = set(_empty(store, set(slide_ids) - scored))
    if unknown := [i for i in slide_ids if i not in scored and i not in bare]:
        raise StoreError(
            f"{run.path}: slide '{unknown[0]}' has no patch scores", "run wsikit predict first"
        )
    return list(dict.fromkeys(slide_ids))


def _empty(store: Store, slide_ids: set[str]) -> Iterator[str]:
    """Yield the slides in which no tissue was found."""
    tiled = set(store.slide_ids())
    for slide_id in sorted(slide_ids & tiled):
        try:
            if not store.slide(slide_id).patch_count:
                yield slide_id
        except WsikitError:  # a damaged slide was not predicted, which is told elsewhere
            continue


def _draw(job: _Job, slide_id: str, outcome: Outcome) -> str:
    """Draw one slide and record what became of it; return a few words on it."""
    try:
        drawn, failed, empty = _draw_formats(job, slide_id)
    except (WsikitError, OSError, MemoryError) as error:
        outcome.failed[slide_id] = str(error) or type(error).__name__
        return f"{slide_id}: FAILED: {outcome.failed[slide_id]}"
    if failed:
        outcome.failed[slide_id] = "; ".join(failed)
        return f"{slide_id}: FAILED: {outcome.failed[slide_id]}"
    if empty:
        outcome.empty.append(slide_id)
        return f"{slide_id}: no tissue was found in it, and its files say so"
    (outcome.done if drawn else outcome.skipped).append(slide_id)
    return slide_id if drawn else f"{slide_id}: already done"


def _draw_formats(job: _Job, slide_id: str) -> tuple[int, list[str], bool]:
    """Write a slide's files; one that fails does not keep the others from being written.

    Returns:
        How many formats were written, what failed, and whether the slide is without tissue.
    """
    stored = job.store.slide(slide_id)
    slide = _slide(job, stored)
    if stored.patch_count:
        job.meanings.append(_meaning(slide))
    made, recipe = Made(job.folder, slide_id), _recipe(job, slide)
    written, failed = 0, []
    for name in dict.fromkeys(job.config.formats):
        files = files_of(name, slide_id, stored.patch_count)
        if not job.overwrite and made.holds(name, recipe, files):
            continue
        if held := holder(job.folder, name, slide_id):
            failed.append(f"{name}: {held}: draw one of the two into another folder with -o")
            continue
        slide = _finer(job, slide)
        try:
            FORMATS[name](slide, job.folder)
        except NoPixelsError as error:
            job.progress.say(f"{slide_id}: {name} left out: {error}")
        except (WsikitError, OSError, MemoryError) as error:
            failed.append(f"{name}: {error or type(error).__name__}")
        else:
            made.note(name, recipe)
            written += 1
    _keep_thumbnail(job, slide, made, recipe)
    return written, failed, not stored.patch_count


def _meaning(slide: SlideHeatmap) -> str:
    """Say what a slide's colours stand for, without scoring it at a stride."""
    stride, side = slide.config.stride, slide.stored.grid.patch_px
    detail = stride_detail(stride or side, side)
    return replace(slide.scores, detail=detail).shown_meaning


def _keep_thumbnail(job: _Job, slide: SlideHeatmap, made: Made, recipe: str) -> None:
    """Draw the small picture of the cohort page, unless it is there."""
    path = thumbnail_file(job.folder, slide.slide_id)
    file = str(path.relative_to(job.folder))
    if job.config.cohort and not made.holds("cohort", recipe, [file]):
        write_bytes(path, small_heatmap(_finer(job, slide)))
        made.note("cohort", recipe)


def _slide(job: _Job, stored: StoredSlide) -> SlideHeatmap:
    slide_id = stored.slide_id
    return SlideHeatmap(
        stored,
        slide_scores(job.runs[0], stored, job.config),
        job.config,
        _known(job, stored),
        slide_pixels(job.store, stored, job.files, job.progress.say),
        job.names[0],
        tuple(_others(job, stored)),
        job.predicted.get(slide_id, {}),
        job.progress.say,
        lambda: job.grad_cam.pictures(stored),
    )


def _known(job: _Job, stored: StoredSlide) -> TruthOutline | None:
    """Return the known region that the user names; else the lesions that the store knows of."""
    if job.truth is not None:
        return truth_outline(stored, job.truth, job.config)
    return lesion_outline(stored)


def _others(job: _Job, stored: StoredSlide) -> Iterator[RunScores]:
    """Read what the further runs say of a slide; one that says nothing is told and left out."""
    for run, name in zip(job.runs[1:], job.names[1:], strict=True):
        try:
            yield RunScores(name, slide_scores(run, stored, job.config))
        except WsikitError as error:
            job.progress.say(f"{stored.slide_id}: run {name} left out: {error}")


def _finer(job: _Job, slide: SlideHeatmap) -> SlideHeatmap:
    """Score a slide at a finer stride, where that is asked for and not done yet."""
    if job.config.stride is None or slide.scores.detail:
        return slide
    source = job.files.get(slide.slide_id) if job.files is not None else None
    return replace(slide, scores=job.restride.scores(slide.stored, slide.scores, source))


def _recipe(job: _Job, slide: SlideHeatmap) -> str:
    """Return the identity of all that a slide's files show."""
    slide_id = slide.slide_id
    source = (job.files or {}).get(slide_id)
    inputs: dict[str, Any] = {
        "patches": slide.stored.recipe_id,
        "runs": [
            (name, file_digest(run.patch_table(slide_id)))
            for run, name in zip(job.runs, job.names, strict=True)
        ],
        "prediction": dict(slide.prediction),
        "pixels": "file" if source is not None and source.path.exists() else "store",
        "truth": _truth_digest(job.truth, slide_id),
    }
    if job.scorer.model is not None:
        inputs["model"] = RunFolder(job.scorer.model).facts().recipe_id
    return drawing_recipe(job.config, inputs)


def _truth_digest(truth: Path | None, slide_id: str) -> list[str]:
    files = sorted(truth.glob("*")) if truth is not None else []
    return [file_digest(file) for file in files if file.name.startswith(slide_id)]
