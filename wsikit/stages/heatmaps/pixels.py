"""Where a slide's pixels come from: its own file, where one is given, else the store.

The store keeps no path of the file a slide was tiled from: names of files and folders often hold
names of patients, and a store is handed on. So the user says where the slides lie (`--slides`), and
a file is believed by what it holds: its fingerprint must be that of the file that was tiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wsikit.errors import SlideError, WsikitError
from wsikit.slides.fingerprint import fingerprint, quick_stamp
from wsikit.slides.open import open_slide
from wsikit.slides.slide import Slide
from wsikit.stages.cohort import SourceSlide, source_slides
from wsikit.stages.heatmaps.slide_heatmap import Pixels
from wsikit.stages.heatmaps.stored_pixels import NoPixelsError, StoredPixels
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Box, Mpp, UInt8Image

__all__ = ["NoPixelsError", "OpenPixels", "check_source", "slide_files", "slide_pixels"]

OpenPixels = Callable[[], AbstractContextManager[Pixels]]


@dataclass(frozen=True)
class FilePixels:
    """Read the slide's own file.

    Attributes:
        slide: open.
        mpp: micrometres per level-0 pixel.
        origin: what is seen.
    """

    slide: Slide
    mpp: Mpp
    origin: str = "the slide's own file, colours as scanned"

    def read(self, region: Box, mpp: Mpp | None = None) -> UInt8Image:
        """Read a region; see `Slide.read`. What cannot be decoded is white."""
        with self.slide.tolerating_damage():
            return self.slide.read(region, mpp)

    def l0_per_px(self, mpp: Mpp) -> tuple[float, float]:
        """Return level-0 pixels per pixel of what is read at `mpp`; see `Slide.scale_to`."""
        return self.slide.scale_to(mpp)


def slide_files(slides: Path | None) -> Mapping[str, SourceSlide] | None:
    """List the slide files that a folder or cohort CSV names, by slide id.

    Args:
        slides: the folder (or one slide's file) or CSV; None: the user gave none.

    Raises:
        UsageError: it is not there, or holds no slide.
        CohortError: the CSV is wrong, or two files would be the same slide.
    """
    if slides is None:
        return None
    return {source.slide_id: source for source in source_slides([slides])}


def slide_pixels(
    store: Store,
    stored: StoredSlide,
    files: Mapping[str, SourceSlide] | None,
    say: Callable[[str], None],
) -> OpenPixels:
    """Choose where a slide's pixels come from.

    Args:
        store: holds the slide.
        stored: the slide.
        files: from `slide_files`.
        say: told where a file was expected and the store's patches are shown in its place.

    Returns:
        A function that opens them; it raises in one line where there are none.

    Raises:
        SlideError: the file named for the slide is another than the one that was tiled.
    """
    source = files.get(stored.slide_id) if files is not None else None
    if source is not None and source.path.exists():
        check_source(store, stored, source.path)
        path = source.path
        return lambda: _from_file(path, stored.mpp_l0)
    if files is not None:
        found = "not among the files of --slides" if source is None else "its file is not there"
        say(f"{stored.slide_id}: {found}, so pixels come from the store")
    return lambda: _from_store(stored)


def check_source(store: Store, stored: StoredSlide, path: Path) -> None:
    """See that a file is the one a stored slide was made from.

    One whose size and time are those that `wsikit tile` noted is not read again.

    Raises:
        SlideError: it is another.
    """
    wanted = str(stored.recipe.get("source", ""))
    if _stamped(store, stored.slide_id, wanted, path) or fingerprint(path) == wanted:
        return
    raise SlideError(
        f"{path.name}: not the file that slide '{stored.slide_id}' of the store was made from",
        "give the right file with --slides, or leave --slides out to draw on the store's patches",
    )


def _stamped(store: Store, slide_id: str, wanted: str, path: Path) -> bool:
    """Tell whether tiling saw a file of this very size and time, and of the wanted content."""
    try:
        statuses = store.status(slide_id).values()
    except WsikitError:  # a damaged record; the content then tells
        return False
    stamp = tuple(quick_stamp(path))
    return any(status.source == wanted and status.stamp == stamp for status in statuses)


@contextmanager
def _from_file(path: Path, mpp: Mpp) -> Iterator[Pixels]:
    with open_slide(path, mpp) as slide:
        yield FilePixels(slide, mpp)


@contextmanager
def _from_store(stored: StoredSlide) -> Iterator[Pixels]:
    with StoredPixels(stored) as pixels:
        yield pixels
