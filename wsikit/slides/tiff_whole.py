"""Tell whether a TIFF is as long as its directories say."""

from __future__ import annotations

import struct

import tifffile


def is_cut_short(tiff: tifffile.TiffFile) -> bool:
    """Tell whether data or directories of any page lie beyond the end of the file.

    A copy that was broken off may keep the first levels whole and lose the rest, which would
    otherwise pass for a slide with fewer levels.

    Args:
        tiff: an open classic TIFF or BigTIFF.
    """
    size = tiff.filehandle.size
    ends = (
        offset + count
        for page in tiff.pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
    )
    return max(ends, default=0) > size or _next_directory(tiff) >= size


def _next_directory(tiff: tifffile.TiffFile) -> int:
    """Return where the directory after the last one lies that could be read; 0 where none is."""
    layout, file = tiff.tiff, tiff.filehandle
    start = tiff.pages[-1].offset
    file.seek(start)
    (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    file.seek(start + layout.tagnosize + tags * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    return int(following)
