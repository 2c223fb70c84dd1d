"""Begin and finish one slide: the tasks around its shards.

`begin_slide` opens a slide, looks at it coarsely, fits its stain normalisation and stages an empty
image; `shard.py` does the patches; `finish_slide` writes the index and
moves the slide to its place. Shards of one slide run on all workers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from wsikit.config import TileConfig
from wsikit.errors import SlideError
from wsikit.geometry import PatchGrid
from wsikit.slides.fingerprint import fingerprint, quick_stamp
from wsikit.slides.overview import read_overview
from wsikit.slides.slide import Slide
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.tiling.held_slide import Stamp, held_slide, release_slide
from wsikit.stages.tiling.region_of_interest import RegionRule, allowed_patches, region_digest
from wsikit.stages.tiling.shard import ShardPlan, SlideTask, store_mpp
from wsikit.stages.tiling.stain_fit import fit_slide
from wsikit.stages.tiling.survey import Survey, survey_slide
from wsikit.stages.viewer_frame import viewer_corner
from wsikit.stain.normaliser import Identity
from wsikit.stain.reference import load_reference, reference_digest
from wsikit.store.decisions import KEPT
from wsikit.store.recipe import recipe_id
from wsikit.store.slide_writer import SHARD_PATCHES, Shard, SlideWriter
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Mpp

ALGORITHM = 2
"""Raise when the same parameters would give other bytes."""

THUMBNAIL_MIN_PX = 1024
"""A thumbnail is at least this long, where the slide has so many pixels."""


@dataclass(frozen=True)
class SlideJob:
    """One slide to be tiled, as it travels to the workers.

    Attributes:
        source: the slide.
        store: the store's folder.
        config: how to tile.
        overwrite: tile it again, whatever is there.
        strict: fail a slide of which a patch cannot be decoded.
        preview: draw what was kept and dropped.
    """

    source: SourceSlide
    store: Path
    config: TileConfig
    overwrite: bool = False
    strict: bool = False
    preview: bool = False


@dataclass(frozen=True)
class BegunSlide:
    """A slide whose staging is ready.

    Attributes:
        job: what was asked for.
        recipe: identity of the recipe, source included.
        source: fingerprint of its files.
        task: what its shards need.
        pending: the shards still to be written.
        stored: kept and damaged patches where an earlier run finished the slide, else None.
        notes: what the user should know of it, a line each.
    """

    job: SlideJob
    recipe: str
    source: str
    task: SlideTask
    pending: list[ShardPlan] = field(default_factory=list)
    stored: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def tile_recipe(config: TileConfig) -> dict[str, Any]:
    """Return what decides the patches, the source apart: parameters, version, reference."""
    parameters = config.model_dump(mode="json")
    reference = parameters["stain"].pop("reference")
    digest = reference_digest(load_reference(reference)) if config.stain.method != "none" else None
    for name in ("keep", "exclude"):  # files: what they hold decides, see `slide_recipe`
        parameters["roi"][name] = parameters["roi"][name] is not None
    if not (parameters["roi"]["keep"] or parameters["roi"]["exclude"]):
        del parameters["roi"]["origin"]  # without regions it decides nothing
    return {"algorithm": ALGORITHM, **parameters, "reference": digest}


def slide_recipe(job: SlideJob, source: str) -> dict[str, Any]:
    """Return what decides one slide's patches: the store's recipe and the source's identity."""
    return {
        **tile_recipe(job.config),
        "source": source,
        "mpp_given": job.source.mpp,
        "roi_digests": region_digest(region_rule(job.config), job.source.slide_id),
    }


def region_rule(config: TileConfig) -> RegionRule:
    """Return the regions of interest that a configuration names."""
    roi = config.roi
    return RegionRule(
        keep=Path(roi.keep).absolute() if roi.keep else None,
        exclude=Path(roi.exclude).absolute() if roi.exclude else None,
        keep_classes=roi.keep_classes,
        exclude_classes=roi.exclude_classes,
        min_inside=roi.min_inside,
        max_excluded=roi.max_excluded,
    )


def begin_slide(job: SlideJob) -> BegunSlide:
    """Open a slide, find its candidate patches, fit its normalisation and stage its empty image.

    Raises:
        SlideError: it cannot be opened, has no usable mpp, or its source changed since it was
            tiled and overwriting was not asked for; strict, and a stored patch is damaged.
    """
    source = job.source
    stamp = tuple(quick_stamp(source.path))
    slide = held_slide(source.path, source.mpp, stamp)
    grid = slide_grid(slide, job.config)
    final = Store(job.store).slide_path(source.slide_id)
    if final.is_dir() and not job.overwrite:
        return _found(job, stamp, grid, StoredSlide(final, source.slide_id))
    with ThreadPoolExecutor(1) as other:  # hashing lets other threads run
        hashing = other.submit(fingerprint, source.path)
        corner = viewer_corner(slide.properties, job.config.roi.origin)
        rule = replace(region_rule(job.config), offset_l0=corner)
        allowed = allowed_patches(rule, source.slide_id, grid)
        survey = survey_slide(slide, grid, job.config, allowed.patches)
        identity = hashing.result()
    recipe = recipe_id(slide_recipe(job, identity))
    normaliser = fit_slide(slide, survey, grid, job.config)
    task = SlideTask(
        source.path, source.mpp, stamp, grid, job.config, _writer(job, grid), normaliser
    )
    begun = BegunSlide(job, recipe, identity, task)
    if not task.writer.has_begun(recipe):
        with slide.tolerating_damage():
            thumbnail, scale = read_overview(slide, _thumbnail_mpp(slide, job.config))
        task.writer.begin(_attributes(begun, slide, scale), thumbnail, survey.decisions)
    left = [plan for plan in plan_shards(survey) if not task.writer.is_written(plan.shard)]
    return replace(begun, pending=left, notes=allowed.notes)


def slide_grid(slide: Slide, config: TileConfig) -> PatchGrid:
    """Return the patch grid that a configuration lays over a slide.

    Raises:
        SlideError: the slide is coarser than asked for, or has no such level.
    """
    if config.level is None:
        target = None if config.mpp == "native" else Mpp(config.mpp, config.mpp)
        return PatchGrid(slide.size_l0, slide.scale_to(target), config.size)
    if config.level >= len(slide.levels):
        raise SlideError(
            f"{slide.path.name}: has {len(slide.levels)} levels, none is number {config.level}",
            f"set tile.level to 0..{len(slide.levels) - 1}, or use tile.mpp",
        )
    return PatchGrid(slide.size_l0, slide.levels[config.level].downsample, config.size)


def _writer(job: SlideJob, grid: PatchGrid) -> SlideWriter:
    codec = job.config.codec
    staging = Store(job.store).staging_path(f"{job.source.slide_id}.zarr")
    return SlideWriter(staging, grid, (codec.name, codec.quality, codec.subsampling))


def _found(job: SlideJob, stamp: Stamp, grid: PatchGrid, stored: StoredSlide) -> BegunSlide:
    """Take a slide that is in the store already, if it is what would be made."""
    identity = fingerprint(job.source.path)
    recipe = recipe_id(slide_recipe(job, identity))
    if stored.recipe_id != recipe:
        raise SlideError(
            f"{job.source.path.name}: the file, its mpp or its regions changed since it was tiled",
            "use --overwrite to tile it again, or another store",
        )
    damaged = stored.decisions.counts()["damaged"]
    if job.strict and damaged:
        raise damaged_error(job, damaged)
    writer = _writer(job, grid)
    writer.discard()  # a kill may have left its markers
    task = SlideTask(job.source.path, job.source.mpp, stamp, grid, job.config, writer, Identity())
    return BegunSlide(job, recipe, identity, task, stored=(len(stored.patches), damaged))


def damaged_error(job: SlideJob, damaged: int) -> SlideError:
    """Return the error of a slide that has damaged patches where none are accepted."""
    hint = ", or leave out --strict to do without these patches" if job.strict else ""
    return SlideError(
        f"{job.source.path.name}: {damaged} of its patches cannot be decoded",
        f"copy the file again from its source{hint}",
    )


def plan_shards(survey: Survey) -> list[ShardPlan]:
    """Return the shards that hold candidate patches, fullest first.

    The fullest go first so that workers end together; equals stay in row order, where neighbours
    share the tiles on their border.
    """
    rows, cols = np.nonzero(survey.decisions.reason == KEPT)
    shard_of = np.stack([rows // SHARD_PATCHES, cols // SHARD_PATCHES], axis=1)
    plans = []
    for shard_row, shard_col in np.unique(shard_of, axis=0).tolist():
        own = (shard_of == (shard_row, shard_col)).all(axis=1)
        places = tuple(zip(rows[own].tolist(), cols[own].tolist(), strict=True))
        shares = {name: share[rows[own], cols[own]] for name, share in survey.shares.items()}
        plans.append(ShardPlan(Shard(shard_row, shard_col), places, shares))
    return sorted(plans, key=lambda plan: -len(plan.places))


def _attributes(
    begun: BegunSlide, slide: Slide, thumbnail_scale: tuple[float, float]
) -> Mapping[str, Any]:
    """Return what `StoredSlide` reads back, and what normalisation can be redone or undone by."""
    grid, own = begun.task.grid, slide.mpp
    return {
        "recipe_id": begun.recipe,
        "recipe": slide_recipe(begun.job, begun.source),
        "size_l0": list(slide.size_l0),
        "mpp_l0": list(own),
        "mpp": list(store_mpp(slide, grid)),
        "scale": list(grid.scale),
        "patch_px": grid.patch_px,
        "thumbnail_scale": list(thumbnail_scale),
        "stain": begun.task.normaliser.to_json(),
        "properties": dict(slide.properties),
    }


def finish_slide(begun: BegunSlide) -> tuple[int, int]:
    """Write the slide's index and move it to its place.

    Returns:
        How many patches were kept, and how many were damaged.

    Raises:
        SlideError: strict, and a patch is damaged; or more patches are damaged than kept, which is
            no good slide with a flaw any more.
    """
    release_slide()
    final = Store(begun.job.store).slide_path(begun.job.source.slide_id)
    counts = _counts_if_moved(begun, final) or begun.task.writer.decisions().counts()
    if counts["damaged"] > (0 if begun.job.strict else counts["kept"]):
        raise damaged_error(begun.job, counts["damaged"])
    if begun.task.writer.staging.exists():
        begun.task.writer.finish(final)
    if begun.job.preview:
        draw_preview(Store(begun.job.store), begun.job.source.slide_id)
    return counts["kept"], counts["damaged"]


def _counts_if_moved(begun: BegunSlide, final: Path) -> dict[str, int] | None:
    """Return what a finished slide holds, where this very task was done before.

    A worker can die between moving the slide to its place and telling so; the task is then run
    again elsewhere.
    """
    if begun.task.writer.staging.exists() or not final.is_dir():
        return None
    stored = StoredSlide(final, begun.job.source.slide_id)
    return stored.decisions.counts() if stored.recipe_id == begun.recipe else None


def draw_preview(store: Store, slide_id: str) -> None:
    """Draw a stored slide's kept and dropped patches into `previews/`, unless it is there."""
    from wsikit.stages.tiling.preview import write_preview  # matplotlib takes long to import

    path = store.path / "previews" / f"{slide_id}.png"
    stored = store.slide(slide_id)
    if not path.exists() or path.stat().st_mtime < stored.path.stat().st_mtime:
        write_preview(stored, path)


def _thumbnail_mpp(slide: Slide, config: TileConfig) -> float:
    """Return the thumbnail's resolution: as configured, finer where the slide is small."""
    own = slide.mpp
    longest_um = max(slide.size_l0.width * own.x, slide.size_l0.height * own.y)
    return min(config.thumbnail_mpp, longest_um / THUMBNAIL_MIN_PX)
