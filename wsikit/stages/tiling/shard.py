"""Tile one shard: read its candidate patches, judge, normalise and write them.

This is the task the workers spend their time on. It reads each source tile once, patch by patch
(tiles on a border between patches stay in the slide's cache), and touches each pixel twice more:
once in the stain table, which counts the values for the entropy in the same pass, and once in the
encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsikit.config import TileConfig
from wsikit.geometry import PatchGrid
from wsikit.slides.slide import DamagedPixelsError, Slide
from wsikit.stages.tiling.held_slide import Stamp, held_slide
from wsikit.stages.tiling.judge import judge
from wsikit.stain.normaliser import Normaliser
from wsikit.store.decisions import KEPT, REASONS
from wsikit.store.slide_writer import Judgement, Shard, SlideWriter
from wsikit.tissue.entropy import entropy_of_counts
from wsikit.tissue.rgb import bright, rgb_foreground
from wsikit.tissue.sharpness import sharpness
from wsikit.types import Box, FloatArray, Mpp, UInt8Image

DAMAGED, BLUR = REASONS.index("damaged"), REASONS.index("blur")

NOT_READ = float("nan")
"""The entropy of a patch that was not read."""

Place = tuple[int, int]


@dataclass(frozen=True)
class ShardPlan:
    """The candidate patches of one shard.

    Attributes:
        shard: which shard.
        places: (row, col) in the slide's grid, rows first.
        shares: (n,) float32 by mask filter, from the survey.
    """

    shard: Shard
    places: tuple[Place, ...]
    shares: Mapping[str, FloatArray]


@dataclass(frozen=True)
class SlideTask:
    """All that tiling any shard of a slide needs, small enough to go along with each task.

    Attributes:
        path: the slide's file or folder.
        mpp: what the user says of its resolution.
        stamp: size and time of its files when the run began.
        grid: its patch grid.
        config: how to tile.
        writer: where to.
        normaliser: the slide's stain normalisation.
    """

    path: Path
    mpp: Mpp | None
    stamp: Stamp
    grid: PatchGrid
    config: TileConfig
    writer: SlideWriter
    normaliser: Normaliser

    def open(self) -> Slide:
        """Return the open slide; see `held_slide`."""
        return held_slide(self.path, self.mpp, self.stamp)


@dataclass(frozen=True)
class ShardCount:
    """How many of a shard's patches were kept, and how many could not be read."""

    kept: int
    damaged: int


def tile_shard(task: SlideTask, plan: ShardPlan) -> ShardCount:
    """Read, judge, normalise and write the patches of one shard.

    A patch whose pixels cannot be decoded is dropped as `damaged`.

    Raises:
        SlideError: the slide cannot be opened or read at all.
        OSError: the store cannot be written.
    """
    slide = task.open()
    shares = dict(plan.shares)
    if "rgb" in task.config.filters and "rgb" not in shares:
        shares["rgb"] = _rgb_shares(slide, task, plan.places)
    encode, mpp = task.writer.encoder(), store_mpp(slide, task.grid)
    patches: dict[Place, bytes] = {}
    judged: list[Judgement] = []
    foreground, reason = judge(task.config, shares)
    for n, place in enumerate(plan.places):
        if reason[n] != KEPT:
            judged.append(Judgement(*place, float(foreground[n]), NOT_READ, int(reason[n])))
            continue
        try:
            pixels = read_patch(slide, task.grid, place, mpp)
        except DamagedPixelsError:
            judged.append(Judgement(*place, 0.0, NOT_READ, DAMAGED))
            continue
        normalised, counts = task.normaliser.apply_counting(pixels)
        entropy = entropy_of_counts(counts)
        sharp = _sharp(pixels, task.config, mpp)
        if "entropy" in task.config.filters or not sharp:
            own = {name: share[n : n + 1] for name, share in shares.items()}
            reason[n] = _closer(task.config, own, entropy, sharp)
        judged.append(Judgement(*place, float(foreground[n]), entropy, int(reason[n])))
        if reason[n] == KEPT:
            patches[place] = encode(normalised)
    task.writer.write_shard(plan.shard, patches, judged)
    return ShardCount(len(patches), sum(j.reason == DAMAGED for j in judged))


def _closer(
    config: TileConfig, shares: Mapping[str, FloatArray], entropy: float, sharp: bool
) -> int:
    """Judge one patch by all there is; a blurred one does not pass the tissue filter."""
    if not sharp:
        shares = {**shares, "tissue": np.zeros(1, np.float32)}
    reason = int(judge(config, shares, np.array([entropy], np.float32))[1][0])
    return BLUR if not sharp and reason == REASONS.index("tissue") else reason


def _sharp(pixels: UInt8Image, config: TileConfig, mpp: Mpp) -> bool:
    """Tell whether a patch is in focus, as far as that is asked for."""
    if "tissue" not in config.filters or not config.tissue.blur:
        return True
    return sharpness(pixels, mpp) >= config.tissue.blur


def read_patch(slide: Slide, grid: PatchGrid, place: Place, mpp: Mpp) -> UInt8Image:
    """Return a patch as (size, size, 3) uint8, before normalisation, white beyond the slide.

    Args:
        slide: an open slide.
        grid: its patch grid.
        place: (row, col).
        mpp: the store's, from `store_mpp`.

    Raises:
        DamagedPixelsError: its pixels cannot be decoded.
    """
    side = grid.patch_px
    box = grid.region_l0(place[1] * side, place[0] * side, side, side)
    return slide.read(box, mpp)


def store_mpp(slide: Slide, grid: PatchGrid) -> Mpp:
    """Return micrometres per store pixel, along x and y."""
    own = slide.mpp
    return Mpp(own.x * grid.scale[0], own.y * grid.scale[1])


def _rgb_shares(slide: Slide, task: SlideTask, places: tuple[Place, ...]) -> FloatArray:
    """Return the RGB filter's share of each patch, at the store's resolution.

    The block that holds the candidates is read with half a window around it, so that the
    neighbourhood rule sees over its borders.
    """
    grid, config = task.grid, task.config.rgb
    side, window = grid.patch_px, max(1, round(config.window / max(grid.scale)))
    halo = window // 2 + 1
    rows, cols = [row for row, _ in places], [col for _, col in places]
    top, left = min(rows) * side - halo, min(cols) * side - halo
    box: Box = grid.region_l0(
        left, top, (max(cols) + 1) * side + halo - left, (max(rows) + 1) * side + halo - top
    )
    with slide.tolerating_damage():  # reading the patch itself finds it
        block = slide.read(box, store_mpp(slide, grid))
    tissue = rgb_foreground(bright(block, config.threshold, config.rule), window)
    squares = [
        tissue[
            row * side - top : (row + 1) * side - top, col * side - left : (col + 1) * side - left
        ]
        for row, col in places
    ]
    return np.array([square.mean() for square in squares], np.float32)
