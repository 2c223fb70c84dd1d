"""Export: a store's features out, in the layout of other tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from wsikit.atomic import ensure_folder
from wsikit.errors import StoreError, UsageError, WsikitError
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.slide_loop import chosen_slides
from wsikit.stages.stored_names import find_encoder_id
from wsikit.store.h5_layout import Layout
from wsikit.store.h5_reader import written_recipe
from wsikit.store.h5_writer import H5Description, write_bag
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

STAGE = "export"
ALGORITHM = 1

ExportType: TypeAlias = Literal["float32", "stored"]
"""Type of the features in the files; CLAM's and most loaders take float32 only."""

_LEVEL = re.compile(r"level\[(\d{1,2})\]\.downsample")


def run_export(
    store_path: Path,
    out: Path,
    encoder: str | None = None,
    *,
    layout: Layout = "trident",
    dtype: ExportType = "float32",
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Write `<slide_id>.h5` with features and coordinates of every slide.

    Args:
        store_path: a store with features; it is only read.
        out: receives the files.
        encoder: name or id of the features; may be left out where the store has those of one.
        layout: whose meaning `patch_size` has, where the two differ.
        dtype: `float32`, or `stored` for what the store holds.
        slide_ids: only these; default all.
        progress: told of each slide.
        overwrite: replace files of another recipe.

    Returns:
        What became of each slide.

    Raises:
        StoreError: the store has no such features.
        UsageError: the encoder is not named and the store has several; the folder is unwritable.
    """
    progress = progress or Silent()
    store = Store(store_path)
    chosen = chosen_slides(store, slide_ids)
    identity = _encoder(store, encoder)
    ensure_folder(out)
    outcome = Outcome()
    progress.start(STAGE, len(chosen))
    for slide_id in chosen:
        try:
            slide = store.slide(slide_id)
            done = _export_slide(slide, identity, out / f"{slide_id}.h5", layout, dtype, overwrite)
        except (WsikitError, OSError, MemoryError) as error:
            outcome.failed[slide_id] = str(error) or type(error).__name__
            progress.advance(f"{slide_id}: FAILED: {outcome.failed[slide_id]}")
            continue
        (outcome.done if done else outcome.skipped).append(slide_id)
        progress.advance(f"{slide_id}: {done or 'already done'}")
    progress.finish()
    return outcome


def _encoder(store: Store, name: str | None) -> str:
    """Return the encoder id that is meant."""
    if name is not None:
        return find_encoder_id(store, name)
    ids = store.encoder_ids()
    if not ids:
        raise StoreError(f"{store.path}: no features yet", "run wsikit extract first")
    if len(ids) > 1:
        raise UsageError(
            f"{store.path}: has features by {len(ids)} encoders ({', '.join(ids)})",
            f"name one: --encoder {ids[0]}",
        )
    return ids[0]


def _export_slide(
    slide: StoredSlide,
    encoder_id: str,
    path: Path,
    layout: Layout,
    dtype: ExportType,
    overwrite: bool,
) -> str:
    """Write one file; return a few words on it, empty where it was there already.

    Raises:
        StoreError: the slide has no such features.
        UsageError: another file is in the way, or it cannot be written.
    """
    width = slide.feature_width(encoder_id)
    stored = slide.derived_attributes(f"features/{encoder_id}")
    recipe = recipe_id(
        {
            "algorithm": ALGORITHM,
            "patches": slide.recipe_id,
            "features": stored.get("recipe_id"),
            "encoder": encoder_id,
            "layout": layout,
            "dtype": dtype,
        }
    )
    if path.exists() and not overwrite:
        if written_recipe(path) == recipe:
            return ""
        raise UsageError(
            f"{path}: is there already, and holds something else",
            "use --overwrite, or another folder with -o",
        )
    description = H5Description(
        slide_id=slide.slide_id,
        encoder_id=encoder_id,
        recipe_id=recipe,
        grid=slide.grid,
        mpp_l0=slide.mpp_l0,
        mpp=slide.mpp,
        downsamples=_downsamples(slide),
    )
    coords = slide.patches.xy_l0.astype(np.int64)
    kept = slide.feature_dtype(encoder_id) if dtype == "stored" else np.dtype(np.float32)
    blocks = slide.feature_blocks(encoder_id)
    write_bag(path, description, layout, coords, width, kept, blocks)
    return f"{len(coords)} features of {width}"


def _downsamples(slide: StoredSlide) -> dict[int, float]:
    """Return the downsample of each level of the slide's own pyramid, as far as recorded."""
    found = {}
    for name, value in slide.attributes.get("properties", {}).items():
        match = _LEVEL.fullmatch(name)
        if match:
            found[int(match[1])] = float(value)
    return found
