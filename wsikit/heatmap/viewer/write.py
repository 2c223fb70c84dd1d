"""Write the page of one slide: as a folder with the tiles beside it, or as one file."""

from __future__ import annotations

import base64
import errno
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wsikit.atomic import replace_folder, whole_file
from wsikit.errors import UsageError
from wsikit.heatmap.colours import HEAT_MAP
from wsikit.heatmap.paint import score_map
from wsikit.heatmap.sheet import TruthOutline
from wsikit.heatmap.viewer.layers import Layer, choose_patches, describe, patch_name
from wsikit.heatmap.viewer.outline import outline_rings
from wsikit.heatmap.viewer.page import render
from wsikit.heatmap.viewer.pyramid import (
    TILE_PX,
    Pyramid,
    Read,
    Sink,
    encode_jpeg,
    fit,
    plan_pyramid,
    write_pyramid,
)
from wsikit.types import Box, Mpp, Size, UInt8Image

TILE_QUALITY = 80
PATCH_QUALITY = 90

PATCH_SHARE = 0.4
"""Of a single file's bytes, what patches at full size may take up."""

COARSER = 1.5
"""How much coarser a single file's picture becomes with each try."""

STALE_S = 86_400
"""Age in seconds from which a half-written folder is nobody's work any more."""

WORDS = 2000
"""Bytes of a page that its notes may take more when it is whole."""

BLANK = np.full((1, 1, 3), 255, np.uint8)
"""Stands for a picture that is not made yet."""

FEWEST_PX = 256
"""A picture whose longer side is smaller than this is no use: then the file is refused."""


@dataclass(frozen=True)
class Subject:
    """All that a page shows of one slide.

    Attributes:
        slide_id: its name.
        size_l0: (width, height) in level-0 px.
        mpp_l0: micrometres per level-0 px.
        layers: the runs' scores, at least one; the first is shown first.
        read: gives the slide's pixels.
        finest: micrometres per px of the finest that `read` gives; nothing is enlarged.
        patch_mpp: micrometres per px at which patches are kept: what the model saw.
        picture_mpp: wanted micrometres per px of the picture that zooms.
        most_patches: how many patches are kept at full size.
        colours: the map to begin with, one of `HEAT_MAPS`.
        alpha: opacity of the colours to begin with, 0..1.
        truth: a known region to outline.
        origin: where the pixels come from, in a few words.
        mpp_known: whether resolutions are true; if not, they only say how x and y relate, and the
            page speaks of pixels alone.
    """

    slide_id: str
    size_l0: Size
    mpp_l0: Mpp
    layers: Sequence[Layer]
    read: Read
    finest: Mpp
    patch_mpp: Mpp
    picture_mpp: float = 1.0
    most_patches: int = 500
    colours: str = HEAT_MAP
    alpha: float = 0.45
    truth: TruthOutline | None = None
    origin: str = ""
    mpp_known: bool = True

    @property
    def wanted_mpp(self) -> float:
        """Micrometres per px of the picture, never finer than what can be read."""
        return max(self.picture_mpp, *self.finest)


def write_folder(folder: Path, subject: Subject) -> None:
    """Write `index.html`, `tiles/` and `patches/` into a folder, which appears whole or not at all.

    Args:
        folder: what was there is replaced.
        subject: what is shown.

    Raises:
        UsageError: the folder cannot be written.
        WsikitError: pixels cannot be read.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".new", dir=folder.parent))
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        pyramid = _plan(subject)
        sink = _FolderSink(staged)
        overview = write_pyramid(pyramid, subject.read, sink, TILE_QUALITY)
        kept = _write_patches(subject, sink)
        sink("index.html", _page(subject, overview, kept, None))
        staged.chmod(0o777 & ~_umask_of(staged / "tiles"))
        replace_folder(staged, folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_single_file(path: Path, subject: Subject, most_bytes: int) -> float:
    """Write one HTML file that holds all its pictures; a large slide's picture is made coarser.

    Args:
        path: the file.
        subject: what is shown.
        most_bytes: how large the file may become.

    Returns:
        Micrometres per px of the picture, coarser than was wanted where that did not fit.

    Raises:
        UsageError: it fits at no resolution that is of use, or the file cannot be written.
        WsikitError: pixels cannot be read.
    """
    room = most_bytes - WORDS - len(_page(subject, BLANK, (), {}))
    if room > 0:
        patches = _MemorySink(int(PATCH_SHARE * room))
        kept = _write_patches(subject, patches)
        first = _plan(subject)
        while _plan(subject) == first or max(_plan(subject).size) >= FEWEST_PX:
            tiles = _MemorySink(room - patches.used)
            with suppress(_Full):
                overview = write_pyramid(_plan(subject), subject.read, tiles, TILE_QUALITY)
                page = _page(subject, overview, kept, {**patches.files, **tiles.files})
                with whole_file(path) as temporary:
                    temporary.write_bytes(page)
                return _plan(subject).mpp
            subject = replace(subject, picture_mpp=_plan(subject).mpp * COARSER)
    raise UsageError(
        f"slide '{subject.slide_id}' does not fit into one HTML file of {most_bytes / 1e6:g} MB",
        "leave --single-file out, or raise heatmap.html_file_mb",
    )


def _plan(subject: Subject) -> Pyramid:
    return plan_pyramid(subject.size_l0, subject.mpp_l0, subject.wanted_mpp)


class _Full(Exception):
    """A single file's room is used up."""


class _FolderSink:
    """Write files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class _MemorySink:
    """Hold files as base64 until there is no room."""

    def __init__(self, most_bytes: int) -> None:
        self.files: dict[str, str] = {}
        self.used = 0
        self._most = most_bytes

    def __call__(self, name: str, content: bytes) -> None:
        text = base64.b64encode(content).decode("ascii")
        size = len(text) + len(name) + 6
        if self.used + size > self._most:
            raise _Full
        self.files[name] = text
        self.used += size


def _write_patches(subject: Subject, sink: Sink) -> list[str]:
    """Write the chosen patches as the model saw them; return the names of those that fit."""
    if max(f / p for f, p in zip(subject.finest, subject.patch_mpp, strict=True)) > 1.02:
        return []  # the pixels at hand are coarser than what the model saw
    names = []
    for box in choose_patches(subject.layers, subject.most_patches):
        try:
            sink(patch_name(box), encode_jpeg(_read_patch(subject, box), PATCH_QUALITY))
        except _Full:
            break
        names.append(patch_name(box))
    return names


def _read_patch(subject: Subject, box: Box) -> UInt8Image:
    width = round(box.width * subject.mpp_l0.x / subject.patch_mpp.x)
    height = round(box.height * subject.mpp_l0.y / subject.patch_mpp.y)
    image = subject.read(box, subject.patch_mpp)
    return fit(image, Size(max(1, width), max(1, height)))


def _page(
    subject: Subject,
    overview: UInt8Image,
    kept: Sequence[str],
    inline: Mapping[str, str] | None,
) -> bytes:
    pyramid, known = _plan(subject), frozenset(kept)
    data = {
        "slide": {"id": subject.slide_id, "size": subject.size_l0, "mpp": subject.mpp_l0,
                  "known": subject.mpp_known},
        "picture": {
            "size": pyramid.size, "scale": pyramid.scale, "mpp": pyramid.mpp,
            "levels": pyramid.levels, "tile": TILE_PX,
        },
        "patch_mpp": subject.patch_mpp,
        "inline": inline,
        "layers": [describe(layer, known) for layer in subject.layers],
        "tissue": _tissue_colour(subject, overview),
        "map": subject.colours,
        "alpha": subject.alpha,
        "truth": _truth(subject.truth),
    }  # fmt: skip
    page = render(subject.slide_id, _notes(subject, pyramid, len(known)), data)
    return page.encode("utf-8", "replace")


def _tissue_colour(subject: Subject, overview: UInt8Image) -> list[int]:
    """Return the mean colour under the patches: the legend shows colours as they look over it."""
    height, width = overview.shape[:2]
    scale = (subject.size_l0.width / width, subject.size_l0.height / height)
    _, scored = score_map((height, width), scale, subject.layers[0].scores)
    mean = overview[scored].mean(axis=0) if scored.any() else np.full(3, 255.0)
    return [round(channel) for channel in mean.tolist()]


def _truth(truth: TruthOutline | None) -> dict[str, Any] | None:
    if truth is None:
        return None
    rings = [ring.round(1).ravel().tolist() for ring in outline_rings(truth)]
    return {"label": truth.label, "rings": rings}


def _notes(subject: Subject, pyramid: Pyramid, kept: int) -> list[str]:
    """Say what is seen and what is not."""
    count = len({layer.box(n) for layer in subject.layers for n in range(len(layer.scores.values))})
    finest = f"The picture holds {_per_pixel(subject, pyramid)} per pixel"
    notes = [f"{finest} ({subject.origin})." if subject.origin else f"{finest}."]
    if kept == count:
        notes.append("A click shows a patch at the resolution the model read.")
    elif kept:
        notes.append(
            f"{kept:,} of {count:,} patches, the highest and some of the lowest, are shown at the "
            "resolution the model read; the others are enlarged from the picture."
        )
    elif count:
        notes.append("Patches are enlarged from the picture.")
    else:
        notes.append("No patch of this slide was scored.")
    if any(layer.scores.kind == "attention" for layer in subject.layers):
        notes.append(
            "Attention says which patches a model weighed most in this slide, not what they are. "
            "Unless you choose otherwise it is shown as a percentile: 90 means more attention than "
            "90 % of this slide's patches."
        )
    return notes


def _per_pixel(subject: Subject, pyramid: Pyramid) -> str:
    if subject.mpp_known:
        return f"{pyramid.mpp:.3g} \N{MICRO SIGN}m"
    return f"{pyramid.scale[0]:.3g} px of the slide, whose size in \N{MICRO SIGN}m is not known,"


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half-written or half-removed a day or more ago."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.new*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _cannot_write(folder: Path, error: OSError) -> UsageError:
    full = error.errno == errno.ENOSPC
    return UsageError(
        f"cannot write {folder}: {error.strerror or error}",
        "make room, then run the same command again"
        if full
        else "choose an output that can be written",
    )


def _umask_of(made: Path) -> int:
    """Return what the user withholds from others, as seen on a folder made in the common way."""
    return 0o777 & ~os.stat(made).st_mode
