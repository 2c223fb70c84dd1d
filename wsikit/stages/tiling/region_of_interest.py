"""Which patches a drawn region lets through: areas to keep, areas to exclude.

A patch stays if at least `min_inside` of it lies inside the areas to keep and at most
`max_excluded` of it inside the areas to exclude; overlapping areas count once. Shares are of the
part of the patch that lies on the slide. Either may be one file, for one slide, or a folder with
`<slide_id>.geojson`, or ASAP's `<slide_id>.xml`, for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from wsikit.errors import ConfigError, SlideError
from wsikit.geometry import PatchGrid
from wsikit.stages.area_file import Area, AreaFile, file_digest
from wsikit.stages.drawn_areas import SUFFIXES, placed_areas, read_areas
from wsikit.tissue.region_shares import region_shares
from wsikit.types import BoolMask

ROUNDING = 1e-9
"""A share this close to a limit is on it."""


@dataclass(frozen=True)
class RegionRule:
    """What the user asks for; the `tile.roi` keys.

    Attributes:
        keep: file or folder of the areas to keep; None: everything.
        exclude: file or folder of the areas to exclude; None: nothing.
        keep_classes: only areas of these classes are kept; none named: of every class.
        exclude_classes: only areas of these classes are excluded; none named: of every class.
        min_inside: least share of a patch inside the areas to keep, 0..1; at 0 any share above 0.
        max_excluded: largest share of a patch inside the areas to exclude, 0..1.
        offset_l0: added to every coordinate, (x, y) in level-0 px, of a file that does not say
            what it counts from: the corner of the scanned bounds where the viewer cut the slide to
            them, as QuPath does with MRXS. ASAP's and wsikit's own files say it.
    """

    keep: Path | None = None
    exclude: Path | None = None
    keep_classes: tuple[str, ...] = ()
    exclude_classes: tuple[str, ...] = ()
    min_inside: float = 0.5
    max_excluded: float = 0.5
    offset_l0: tuple[float, float] = (0.0, 0.0)

    @property
    def active(self) -> bool:
        """Whether there is any region at all."""
        return self.keep is not None or self.exclude is not None


@dataclass(frozen=True)
class Allowed:
    """What the region lets through of one slide.

    Attributes:
        patches: (rows, cols) bool, true where a patch may stay.
        notes: what the user should know, a line each: nothing of that class, points passed over.
    """

    patches: BoolMask
    notes: tuple[str, ...] = ()


def check_region(rule: RegionRule, slide_ids: Sequence[str]) -> None:
    """Refuse a call that cannot be meant, before any slide is opened.

    Args:
        rule: what is asked for.
        slide_ids: the slides of this run.

    Raises:
        ConfigError: a path is not there, or one file is to serve several slides.
    """
    for key, path in (("keep", rule.keep), ("exclude", rule.exclude)):
        if path is None or path.is_dir():
            continue
        if not path.exists():
            raise ConfigError(f"tile.roi.{key}: {path} is not there", "check the path")
        if len(slide_ids) > 1:
            raise ConfigError(
                f"tile.roi.{key}: one file, {path}, for {len(slide_ids)} slides",
                "name a folder that holds <slide_id>.geojson for each slide",
            )


def region_digest(rule: RegionRule, slide_id: str) -> dict[str, str | None]:
    """Identify the content of a slide's region files, for its recipe.

    Args:
        rule: what is asked for.
        slide_id: the slide.

    Returns:
        `keep` and `exclude`: SHA-256 (hex) of the file's text, None where none is used.

    Raises:
        SlideError: a file cannot be read, or the slide has none to keep areas by.
    """
    files = {"keep": _keep_file(rule, slide_id), "exclude": _find(rule.exclude, slide_id)}
    return {key: None if file is None else file_digest(file) for key, file in files.items()}


def allowed_patches(rule: RegionRule, slide_id: str, grid: PatchGrid) -> Allowed:
    """Decide for every patch of a slide whether the region lets it through.

    Args:
        rule: what is asked for.
        slide_id: the slide.
        grid: its patch grid.

    Returns:
        The patches that may stay, all of them where no region is asked for.

    Raises:
        SlideError: a file is missing or no usable GeoJSON, holds no area at all though it holds
            other things, or only areas beside the slide.
    """
    patches = np.ones((grid.rows, grid.cols), np.bool_)
    notes: list[str] = []
    keep, exclude = _keep_file(rule, slide_id), _find(rule.exclude, slide_id)
    if keep is not None:
        areas = _areas(keep, rule.keep_classes, rule, grid, notes)
        least = max(rule.min_inside - ROUNDING, ROUNDING)
        patches &= region_shares([area.shape for area in areas], grid) >= least
    if exclude is not None:
        areas = _areas(exclude, rule.exclude_classes, rule, grid, notes)
        shares = region_shares([area.shape for area in areas], grid)
        patches &= shares <= rule.max_excluded + ROUNDING
    elif rule.exclude is not None:
        notes.append(f"{rule.exclude} has no file for slide '{slide_id}': nothing is excluded")
    return Allowed(patches, tuple(notes))


def _keep_file(rule: RegionRule, slide_id: str) -> Path | None:
    """Return the file of areas to keep; a slide may not be without where a folder is named."""
    file = _find(rule.keep, slide_id)
    if file is None and rule.keep is not None:
        raise SlideError(
            f"{rule.keep / (slide_id + SUFFIXES[0])}: no such file, so no area to keep",
            "add it, or leave the slide out",
        )
    return file


def _find(place: Path | None, slide_id: str) -> Path | None:
    """Return a slide's file: the one that is named, or its own in the folder that is."""
    if place is None or not place.is_dir():
        return place
    candidates = (place / f"{slide_id}{suffix}" for suffix in SUFFIXES)
    return next((file for file in candidates if file.exists()), None)


def _areas(
    file: Path, classes: tuple[str, ...], rule: RegionRule, grid: PatchGrid, notes: list[str]
) -> list[Area]:
    """Read a file's areas of the wanted classes, moved into the slide's frame."""
    found = read_areas(file)
    kinds = found.passed_over_words()
    check_has_area(file, found)
    placed = placed_areas(found, rule.offset_l0)
    check_on_slide(file, placed, grid)
    if kinds:
        notes.append(f"{file}: passed over what has no area ({kinds})")
    chosen = [area for area in placed if is_of_class(area.name, classes)]
    if not chosen:
        notes.append(_nothing(file, found, classes))
    return chosen


def check_has_area(file: Path, found: AreaFile) -> None:
    """Refuse a file that holds other things and no area: it was meant to hold one."""
    if found.passed_over and not found.areas:
        raise SlideError(
            f"{file}: holds no area ({found.passed_over_words()})", "draw the region as an area"
        )


def check_on_slide(file: Path, areas: Sequence[Area], grid: PatchGrid) -> None:
    """Refuse areas that all miss the slide: they belong to another one, or to another frame."""
    if not areas:
        return
    left, top, right, bottom = shapely.total_bounds([area.shape for area in areas])
    slide = grid.slide_px
    if left >= slide.width or top >= slide.height or right <= 0 or bottom <= 0:
        raise SlideError(
            f"{file}: its areas (x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}) lie "
            f"beside the slide ({slide.width} x {slide.height} px)",
            "use the file of this slide, in its level-0 pixels",
        )


def is_of_class(name: str, classes: tuple[str, ...]) -> bool:
    """Tell whether an area's class is asked for; `Tumor` also means `Tumor: Positive`."""
    own = name.casefold()
    asked = [" ".join(c.split()).casefold() for c in classes]
    return not asked or any(own == c or own.startswith(f"{c}:") for c in asked)


def _nothing(file: Path, found: AreaFile, classes: tuple[str, ...]) -> str:
    if not found.areas:
        return f"{file}: holds no area"
    has = ", ".join(found.names()) or "areas without a class"
    return f"{file}: no area of class {' or '.join(classes)}; it has {has}"
