"""Tile one slide: the tasks that run on the workers.

`begin_slide` opens a slide, fits its stain table and stages an empty image; `tile_shard` reads a
block of the slide, keeps its foreground patches and writes them; `finish_slide` writes the index
and moves the slide to its place. Shards of one slide run on all workers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsikit.config import TileConfig
from wsikit.errors import SlideError
from wsikit.geometry import PatchGrid
from wsikit.slides.fingerprint import fingerprint, quick_stamp
from wsikit.slides.open import open_slide
from wsikit.slides.overview import read_overview
from wsikit.slides.slide import Slide
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.stain_fit import fit_stain_table
from wsikit.stain.histogram import StainTable, apply_table, identity_table
from wsikit.stain.reference import load_reference, reference_digest
from wsikit.store.recipe import recipe_id
from wsikit.store.slide_writer import SHARD_PATCHES, PatchEntry, Shard, SlideWriter
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.tissue.entropy import channel_entropy
from wsikit.tissue.rgb import bright, rgb_foreground
from wsikit.types import BoolMask, Mpp, UInt8Image

ALGORITHM = 1
"""Raise when the same parameters would give other bytes."""

THUMBNAIL_MIN_PX = 1024
"""A thumbnail is at least this long, where the slide has so many pixels."""


@dataclass(frozen=True)
class SlideJob:
    """One slide to be tiled, as it travels to the workers."""

    source: SourceSlide
    store: Path
    config: TileConfig
    overwrite: bool = False


@dataclass(frozen=True)
class BegunSlide:
    """A slide whose staging is ready.

    Attributes:
        job: what was asked for.
        recipe: identity of the recipe, source included.
        grid: its patch grid.
        source: fingerprint of its files.
        stamp: size and time of its files.
        table: (3, 256) uint8, its stain table.
        pending: the shards still to be written.
        patches: their number where an earlier run finished the slide, else None.
    """

    job: SlideJob
    recipe: str
    source: str
    stamp: tuple[tuple[int, int], ...]
    grid: PatchGrid
    table: StainTable = field(default_factory=identity_table)
    pending: list[Shard] = field(default_factory=list)
    patches: int | None = None

    @property
    def writer(self) -> SlideWriter:
        """The slide's writer."""
        staging = Store(self.job.store).staging_path(f"{self.job.source.slide_id}.zarr")
        return SlideWriter(staging, self.grid)


def tile_recipe(config: TileConfig) -> dict[str, Any]:
    """Return what decides the patches, the source apart: parameters, version, reference."""
    parameters = config.model_dump(mode="json")
    reference = parameters["stain"].pop("reference")
    digest = reference_digest(load_reference(reference)) if config.stain.method != "none" else None
    return {"algorithm": ALGORITHM, **parameters, "reference": digest}


def slide_recipe(job: SlideJob, source: str) -> dict[str, Any]:
    """Return what decides one slide's patches: the store's recipe and the source's identity."""
    return {**tile_recipe(job.config), "source": source, "mpp_given": job.source.mpp}


def begin_slide(job: SlideJob) -> BegunSlide:
    """Open a slide, fit its stain table and stage its empty image.

    Raises:
        SlideError: it cannot be opened, has no usable mpp, or its source changed since it was
            tiled and overwriting was not asked for.
    """
    source = job.source
    stamp = tuple(quick_stamp(source.path))
    identity = fingerprint(source.path)
    recipe = recipe_id(slide_recipe(job, identity))
    final = Store(job.store).slide_path(source.slide_id)
    with open_slide(source.path, source.mpp) as slide:
        target = None if job.config.mpp == "native" else Mpp(job.config.mpp, job.config.mpp)
        grid = PatchGrid(slide.size_l0, slide.scale_to(target), job.config.size)
        begun = BegunSlide(job, recipe, identity, stamp, grid)
        if final.is_dir() and not job.overwrite:
            return _found(begun, StoredSlide(final, source.slide_id))
        begun = replace(begun, table=fit_stain_table(slide, grid, job.config))
        thumbnail, scale = read_overview(slide, _thumbnail_mpp(slide, job.config))
        codec = job.config.codec
        begun.writer.begin(
            _attributes(begun, slide, scale),
            thumbnail,
            (codec.name, codec.quality, codec.subsampling),
        )
        return replace(begun, pending=begun.writer.pending())


def _found(begun: BegunSlide, stored: StoredSlide) -> BegunSlide:
    """Take a slide that is in the store already, if it is what would be made."""
    if stored.recipe_id != begun.recipe:
        raise SlideError(
            f"{begun.job.source.path.name}: the file or its mpp changed since it was tiled",
            "use --overwrite to tile it again, or another store",
        )
    begun.writer.discard()  # a kill may have left its markers
    return replace(begun, patches=len(stored.patches))


def _attributes(
    begun: BegunSlide, slide: Slide, thumbnail_scale: tuple[float, float]
) -> dict[str, Any]:
    """Return what `StoredSlide` reads back, and what normalisation can be undone by."""
    grid, own = begun.grid, slide.mpp
    return {
        "recipe_id": begun.recipe,
        "recipe": slide_recipe(begun.job, begun.source),
        "size_l0": list(slide.size_l0),
        "mpp_l0": list(own),
        "mpp": [own.x * grid.scale[0], own.y * grid.scale[1]],
        "scale": list(grid.scale),
        "patch_px": grid.patch_px,
        "thumbnail_scale": list(thumbnail_scale),
        "stain_table": begun.table.tolist(),
        "properties": dict(slide.properties),
    }


def tile_shard(begun: BegunSlide, shard: Shard) -> int:
    """Read one shard's block of the slide and write its foreground patches.

    Returns:
        How many patches were kept.
    """
    config, grid = begun.job.config, begun.grid
    side = SHARD_PATCHES * grid.patch_px
    left, top = shard.col * side, shard.row * side
    cols = min(SHARD_PATCHES, grid.cols - shard.col * SHARD_PATCHES)
    rows = min(SHARD_PATCHES, grid.rows - shard.row * SHARD_PATCHES)
    window = max(1, round(config.rgb.window / max(grid.scale)))
    halo = window // 2 + 1
    box = grid.region_l0(
        left - halo, top - halo, cols * grid.patch_px + 2 * halo, rows * grid.patch_px + 2 * halo
    )
    with open_slide(begun.job.source.path, begun.job.source.mpp) as slide:
        own = slide.mpp
        block = slide.read(box, Mpp(own.x * grid.scale[0], own.y * grid.scale[1]))
    tissue = rgb_foreground(bright(block, config.rgb.threshold, config.rgb.rule), window)
    inner = slice(halo, -halo)
    patches: dict[tuple[int, int], UInt8Image] = {}
    entries: list[PatchEntry] = []
    for row, col, pixels, mask in _squares(
        block[inner, inner], tissue[inner, inner], grid.patch_px
    ):
        place = (shard.row * SHARD_PATCHES + row, shard.col * SHARD_PATCHES + col)
        entry = judge_patch(pixels, mask, config, grid, place)
        if entry is not None:
            entries.append(entry)
            patches[place] = apply_table(pixels, begun.table)
    begun.writer.write_shard(shard, patches, entries)
    return len(entries)


def finish_slide(begun: BegunSlide) -> int:
    """Write the slide's index and move it to its place; return its number of patches."""
    store = Store(begun.job.store)
    final = store.slide_path(begun.job.source.slide_id)
    return begun.writer.finish(final)


def judge_patch(
    pixels: UInt8Image,
    tissue: BoolMask,
    config: TileConfig,
    grid: PatchGrid,
    place: tuple[int, int],
) -> PatchEntry | None:
    """Apply the filters to one patch.

    Args:
        pixels: (size, size, 3) uint8, before stain normalisation.
        tissue: (size, size) bool, from the RGB filter.
        config: which filters, and their cuts.
        grid: the slide's patch grid.
        place: (row, col) of the patch.

    Returns:
        Its index entry, or None where a filter drops it.
    """
    foreground = float(tissue.mean())
    if "rgb" in config.filters and foreground < max(config.min_foreground, 1e-9):
        return None
    entropy = channel_entropy(pixels)
    if "entropy" in config.filters and entropy < config.entropy.cut:
        return None
    x, y = grid.origin_l0(*place)
    return PatchEntry(x, y, place[0], place[1], foreground, entropy)


def _thumbnail_mpp(slide: Slide, config: TileConfig) -> float:
    """Return the thumbnail's resolution: as configured, finer where the slide is small."""
    own = slide.mpp
    longest_um = max(slide.size_l0.width * own.x, slide.size_l0.height * own.y)
    return min(config.thumbnail_mpp, longest_um / THUMBNAIL_MIN_PX)


def _squares(
    image: UInt8Image, mask: BoolMask, size: int
) -> Iterator[tuple[int, int, UInt8Image, BoolMask]]:
    for row in range(image.shape[0] // size):
        for col in range(image.shape[1] // size):
            square = (slice(row * size, (row + 1) * size), slice(col * size, (col + 1) * size))
            yield row, col, image[square], mask[square]
