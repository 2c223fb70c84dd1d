"""Write a collection of pictures into the store as one slide: one picture a chunk, in one column.

The slide is an OME-Zarr image like any other, as wide as a picture and as high as all of them; its
level-0 frame is that column. What reads patches reads pictures. A picture that cannot be decoded is
recorded as `damaged`, as a patch of a slide would be, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from wsikit.errors import SlideError
from wsikit.geometry import PatchGrid
from wsikit.stages.ingest.collection import Collection
from wsikit.stain.normaliser import Identity
from wsikit.store.codecs import CodecName
from wsikit.store.decisions import KEPT, REASONS, Decisions
from wsikit.store.recipe import Recipe, recipe_id
from wsikit.store.slide_writer import SHARD_PATCHES, Judgement, Shard, SlideWriter
from wsikit.store.store import Store
from wsikit.store.stored_slide import as_rgb
from wsikit.tissue.entropy import channel_entropy
from wsikit.types import Mpp, PatchPixels, Size, UInt8Image

WHITE = 255

THUMBNAIL_PX = 4096
"""Longest side of a column's thumbnail, unless there are more pictures than that."""

UNKNOWN_MPP = Mpp(1.0, 1.0)
"""What stands for a resolution that nobody states, beside `mpp_known` being false."""

DAMAGED = REASONS.index("damaged")

Codec = tuple[CodecName, int, str]


def write_collection(
    store: Store,
    slide_id: str,
    pictures: Collection,
    recipe: Recipe,
    codec: Codec,
    say: Callable[[str], None],
) -> int:
    """Write a slide, replacing one of the same id; go on where a killed run stopped.

    Args:
        store: an open store, locked by the caller.
        slide_id: the slide.
        pictures: what it is made of.
        recipe: all that decides it.
        codec: name, JPEG quality and chroma subsampling; `zstd` where the pictures are grey.
        say: told of each picture that cannot be decoded.

    Returns:
        How many pictures cannot be decoded.

    Raises:
        SlideError: none of them can be, or they are not of the size stated.
    """
    count = len(pictures.facts)
    grid = PatchGrid(
        Size(pictures.size.width, pictures.size.height * count), (1.0, 1.0), *pictures.size
    )
    writer = SlideWriter(store.staging_path(f"{slide_id}.zarr"), grid, codec, pictures.grey)
    shrink = max(1.0, grid.slide_px.height / THUMBNAIL_PX, grid.slide_px.width / THUMBNAIL_PX)
    small = Size(*(max(1, round(side / shrink)) for side in pictures.size))
    if not writer.has_begun(recipe_id(recipe)):
        writer.begin(_attributes(pictures, grid, small, recipe), None, _all_kept(count))
    thumbnails = []
    for first in range(0, count, SHARD_PATCHES):
        rows = range(first, min(first + SHARD_PATCHES, count))
        thumbnails += _write_shard(writer, pictures, rows, small, say)
    damaged = writer.decisions().counts()["damaged"]
    if damaged == count:
        writer.discard()
        words = f"none of its {count} pictures can" if count > 1 else "its one picture cannot"
        raise SlideError(f"{words} be decoded", "get the files again")
    writer.finish(store.slide_path(slide_id), thumbnail=np.concatenate(thumbnails))
    return damaged


def _write_shard(
    writer: SlideWriter,
    pictures: Collection,
    rows: range,
    small: Size,
    say: Callable[[str], None],
) -> list[UInt8Image]:
    """Write eight pictures, unless an earlier run did, and return their thumbnails."""
    shard = Shard(rows.start // SHARD_PATCHES, 0)
    written, encode = writer.is_written(shard), writer.encoder()
    chunks: dict[tuple[int, int], bytes] = {}
    judged, thumbnails = [], []
    for row in rows:
        try:
            pixels = _checked(pictures.read(row), pictures)
        except SlideError as error:
            say(str(error))
            judged.append(Judgement(row, 0, 0.0, float("nan"), DAMAGED))
            thumbnails.append(np.full((small.height, small.width, 3), WHITE, np.uint8))
            continue
        seen = as_rgb(pixels, pictures.max_value)
        thumbnails.append(np.asarray(Image.fromarray(seen).resize(small, Image.Resampling.BOX)))
        if not written:
            judged.append(Judgement(row, 0, 1.0, channel_entropy(seen), KEPT))
            chunks[row, 0] = encode(pixels)
    if not written:
        writer.write_shard(shard, chunks, judged)
    return thumbnails


def _checked(pixels: PatchPixels, pictures: Collection) -> PatchPixels:
    (width, height), channels = pictures.size, 1 if pictures.grey else 3
    if pixels.shape != (height, width, channels):
        raise SlideError(
            f"a picture of {pixels.shape[1]} x {pixels.shape[0]} px among those of "
            f"{width} x {height}",
            "give pictures of one size",
        )
    return pixels


def _all_kept(count: int) -> Decisions:
    return Decisions(
        np.ones((count, 1), np.float32),
        np.full((count, 1), np.nan, np.float32),
        np.full((count, 1), KEPT, np.uint8),
    )


def _attributes(
    pictures: Collection, grid: PatchGrid, small: Size, recipe: Recipe
) -> dict[str, Any]:
    mpp = pictures.mpp or UNKNOWN_MPP
    return {
        "recipe_id": recipe_id(recipe),
        "recipe": dict(recipe),
        "size_l0": list(grid.slide_px),
        "mpp_l0": list(mpp),
        "mpp": list(mpp),
        "mpp_known": pictures.mpp is not None,
        "scale": list(grid.scale),
        "patch_px": grid.patch_size.width,
        "patch_height": grid.patch_size.height,
        "max_value": pictures.max_value,
        "thumbnail_scale": [
            pictures.size.width / small.width,
            pictures.size.height / small.height,
        ],
        "stain": Identity().to_json(),
        "properties": {},
        "pictures": [dict(facts) for facts in pictures.facts],
    }
