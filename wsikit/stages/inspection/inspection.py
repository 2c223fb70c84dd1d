"""What wsikit sees in one slide or one store, for `wsikit inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wsikit.errors import MppError, StoreError, UsageError
from wsikit.slides.fingerprint import fingerprint
from wsikit.slides.open import open_slide
from wsikit.stages.inspection.state import state_of
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Mpp


def inspect_path(path: Path, mpp: Mpp | None = None) -> dict[str, Any]:
    """Describe a slide file, or the slides of a store.

    Args:
        path: a slide, or a store.
        mpp: what the user says of the slide's resolution.

    Raises:
        SlideError: the slide cannot be opened.
        StoreError: the store cannot be read.
    """
    if (path / "wsikit.json").exists():
        return _inspect_store(Store(path))
    if (path / "provenance.json").exists():
        return state_of(path)
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder", "check the path")
    return _inspect_slide(path, mpp)


def _inspect_slide(path: Path, mpp: Mpp | None) -> dict[str, Any]:
    with open_slide(path, mpp) as slide:
        try:
            resolution, problem = list(slide.mpp), ""
        except MppError as error:
            resolution, problem = None, str(error)
        return {
            "kind": "slide",
            "path": str(path),
            "reader": slide.backend,
            "size": list(slide.size_l0),
            "mpp": resolution,
            "mpp_problem": problem,
            "levels": [
                {"size": list(level.size), "downsample": list(level.downsample)}
                for level in slide.levels
            ],
            "properties": dict(slide.properties),
            "fingerprint": fingerprint(path),
        }


def _inspect_store(store: Store) -> dict[str, Any]:
    slides: dict[str, Any] = {}
    for slide_id in store.slide_ids():
        try:
            slide = store.slide(slide_id)
            grid, index = slide.grid, slide.patches
        except StoreError as error:
            slides[slide_id] = {"problem": str(error)}
            continue
        slides[slide_id] = {
            "patches": len(index),
            "grid": [grid.rows, grid.cols],
            "patch_px": grid.patch_px,
            "mpp": list(slide.mpp),
            "size_l0": list(grid.slide_px),
            "pixels": slide.has_pixels,
            "foreground_mean": _foreground(slide),
            "encoders": slide.encoder_ids(),
            "graphs": slide.graph_ids(),
        }
    return {
        "kind": "store",
        "path": str(store.path),
        "tile": store.tile_recipe,
        "slides": slides,
    }


def _foreground(slide: StoredSlide) -> float | None:
    """Return the mean share of foreground in patches; None where nobody measured it."""
    if not slide.has_pixels or not len(slide.patches):
        return None
    return round(float(slide.patches.foreground.mean()), 4)
