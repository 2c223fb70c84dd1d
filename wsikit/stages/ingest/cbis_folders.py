"""Find the DICOM files of CBIS-DDSM by the folders above them, named after lesions and mammograms.

A mammogram's folder is called `Mass-Training_P_00001_LEFT_CC`, that of one of its lesions the same
with a number behind. What lies below differs with the program that fetched it, so a file belongs to
the nearest folder above it that is so called.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from wsikit.stages.ingest.collection import LeftOut

Abnormality = Literal["mass", "calc", "both"]

Folders = Mapping[str, Sequence[Path]]
"""Name of a lesion's or a mammogram's folder -> the DICOM files below it."""

FOLDER = re.compile(
    r"(?P<image>(?P<kind>Mass|Calc)-(?P<side>Training|Test)_(?P<patient>P_\d{1,8})"
    r"_(?P<breast>LEFT|RIGHT)_(?P<view>CC|MLO))(?:_(?P<number>\d{1,3}))?"
)


def dicom_folders(folder: Path, abnormality: Abnormality) -> tuple[Folders, list[LeftOut]]:
    """Find the DICOM files below folders that are named after a lesion or a mammogram.

    Args:
        folder: where to look, at any depth.
        abnormality: what is wanted; files of others are passed over.

    Returns:
        The files by folder, and those in no folder so named.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    foreign: list[Path] = []
    places: set[Path] = set()  # that hold something of the set
    for path in files_below(folder):
        if path.suffix.lower() != ".dcm":
            continue
        own = path.relative_to(folder)
        match = FOLDER.fullmatch(folder_above(own))
        if match is None:
            foreign.append(own)
            continue
        places.update(own.parents)
        if abnormality in ("both", match["kind"].lower()):
            found[match[0]].append(path)
    return found, _foreign(foreign, places)


def _foreign(files: Sequence[Path], places: set[Path]) -> list[LeftOut]:
    """Name foreign files by the outermost folder that holds nothing else, a line each."""
    counts: Counter[str] = Counter()
    for file in files:
        _, *inwards = reversed(file.parents)  # all but `folder` itself
        counts[str(next((place for place in inwards if place not in places), file))] += 1
    reason = "in no folder of a lesion or a mammogram"
    return [
        LeftOut(name, f"{count} DICOM file{'' if count == 1 else 's'} {reason}")
        for name, count in sorted(counts.items())
    ]


def files_below(folder: Path) -> list[Path]:
    """List all files below a folder, links to folders not followed."""
    found = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if not path.name.startswith("."))


def folder_above(path: Path) -> str:
    """Return the name of the lesion or mammogram that a file belongs to; empty where of none."""
    return next((part for part in reversed(path.parts[:-1]) if FOLDER.fullmatch(part)), "")
