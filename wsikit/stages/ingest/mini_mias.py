"""Find mini-MIAS on disk: mammograms with the centre and radius of each lesion.

The set is published as `mdbNNN.pgm` of 1024 px a side with an information file, and handed on as
PNG of half the size with `labels.csv`. Centres and radii refer to 1024 px whatever the pictures
have, and count from the bottom left. Odd and even numbers that follow one another are the two
breasts of one woman (mdb001 and mdb002).

Source: Suckling et al. 1994, "The Mammographic Image Analysis Society digital mammogram database":
322 pictures, 200 um a pixel at 1024 px.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from wsikit.errors import SlideError, UsageError
from wsikit.slides.grey_dicom import GreyPicture
from wsikit.stages.ingest.collection import Collection, DataSet, LeftOut, Source
from wsikit.stages.ingest.mammogram import CutOptions, breast_picture, lesion_pictures
from wsikit.stages.ingest.picture_file import read_grey
from wsikit.stages.ingest.splits import SplitKind, split_images
from wsikit.types import Box, Mpp

FRAME_PX = 1024
"""Side of the pictures that centres and radii refer to."""

FRAME_UM = 200.0
"""Micrometres of one of its pixels."""

SEVERITY = {"B": "benign", "M": "malignant"}
NORMAL = "NORM"
SUFFIXES = (".pgm", ".png")
MAX_TEXT_BYTES = 1_000_000

_NAME = re.compile(r"mdb(\d{3})\D{0,2}", re.IGNORECASE)
_LINE = re.compile(
    r"(mdb\d{3})\w{0,2}\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)"
    r"(?:\s+([BM]))?(?:\s+(\d{1,4})\s+(\d{1,4})\s+(\d{1,4}))?.*"
)


@dataclass(frozen=True)
class MiniMiasOptions:
    """What is taken of mini-MIAS.

    Attributes:
        cut: how pictures are cut; of `patches` and `rois` the label is benign or malignant, of
            `whole` normal or abnormal.
        split: `patient`: none, training splits by patient; `images`: 80/10/10 of single pictures.
        seed: of that split.
    """

    cut: CutOptions = field(default_factory=CutOptions)
    split: SplitKind = "patient"
    seed: int = 0


class Finding(NamedTuple):
    """One row of the set's table.

    Attributes:
        name: of the picture, such as `mdb001`.
        tissue: `F`, `G` or `D`: fatty, fatty-glandular or dense.
        kind: `CIRC` and so on; `NORM` of a picture without lesion.
        severity: `benign`, `malignant` or empty.
        circle: centre x and y and radius in px of 1024, y from the bottom; None where not given.
    """

    name: str
    tissue: str
    kind: str
    severity: str
    circle: tuple[int, int, int] | None


def find_mini_mias(folder: Path, options: MiniMiasOptions | None = None) -> DataSet:
    """Find the mammograms of mini-MIAS in a folder.

    Args:
        folder: holds the pictures, and `labels.csv` or the set's information file.
        options: what is taken.

    Raises:
        UsageError: there is no such folder, or no table in it.
    """
    options = options or MiniMiasOptions()
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", "give the folder of mini-MIAS")
    findings, left_out = read_findings(folder)
    pictures = _pictures(folder, left_out)
    by_name: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_name[finding.name].append(finding)
    left_out += [
        LeftOut(path.name, "no row of the table names it")
        for name, path in sorted(pictures.items())
        if name not in by_name
    ]
    broken = {name: "its picture is missing" for name in by_name if name not in pictures}
    if len(broken) == len(by_name):
        return DataSet("mini-mias", [], {}, [LeftOut(str(folder), "holds no mdbNNN.png or .pgm")])
    sources: list[Source] = []
    for name, own in sorted(by_name.items()):
        if name in pictures and options.cut.kind == "whole":
            sources.append(_whole(pictures[name], own, options.cut))
        elif name in pictures:
            sources += _lesions(pictures[name], own, options.cut, left_out)
    words = ""
    if options.split == "images":
        sides, words = split_images({s.slide_id: s.label for s in sources}, (0.8, 0.1, 0.1),
                                    options.seed)  # fmt: skip
        sources = [_with_split(source, sides[source.slide_id]) for source in sources]
    return DataSet("mini-mias", sources, options.cut.recipe(), left_out, broken, split=words)


def read_findings(folder: Path) -> tuple[list[Finding], list[LeftOut]]:
    """Read the set's table: `labels.csv`, or the lines of an information file.

    Returns:
        The findings in their order, and rows that cannot be used.

    Raises:
        UsageError: the folder holds neither.
    """
    table = folder / "labels.csv"
    if table.is_file():
        return _of_csv(table)
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in (".txt", "")):
        if path.is_file():
            matches = map(_LINE.fullmatch, map(str.strip, _text(path).splitlines()))
            found = [_finding(*match.groups(default="")) for match in matches if match]
            if found:
                return found, []
    raise UsageError(
        f"{folder}: holds neither labels.csv nor the set's information file",
        "put one of them beside the pictures",
    )


def _of_csv(table: Path) -> tuple[list[Finding], list[LeftOut]]:
    reader = csv.reader(io.StringIO(_text(table)))
    header = [name.strip().lower() for name in next(reader, [])]
    wanted = ("name", "background tissue", "abnormality", "type", "x", "y", "r")
    missing = [name for name in wanted if name not in header]
    if missing:
        raise UsageError(f"{table}: column '{missing[0]}' is missing", "give the set's own table")
    found, left_out = [], []
    for row in reader:
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        line = " ".join(cells.get(name, "") for name in wanted)
        match = _LINE.fullmatch(" ".join(line.split()))
        if match:
            found.append(_finding(*match.groups(default="")))
        elif line.strip():
            left_out.append(
                LeftOut(f"{table.name}, line {reader.line_num}", "not a row of the set")
            )
    return found, left_out


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise UsageError(f"{path}: too large for the set's table", "check the file")
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error})", "check the file") from error


def _finding(name: str, tissue: str, kind: str, severity: str, x: str, y: str, r: str) -> Finding:
    circle = (int(x), int(y), int(r)) if r else None
    return Finding(name.lower(), tissue, kind, SEVERITY.get(severity, ""), circle)


def _pictures(folder: Path, left_out: list[LeftOut]) -> dict[str, Path]:
    """Return the pictures by name; of a PGM and a PNG of one name, the PGM."""
    found: dict[str, Path] = {}
    for suffix in SUFFIXES:
        for path in sorted(p for p in folder.iterdir() if p.suffix.lower() == suffix):
            match = _NAME.fullmatch(path.stem)
            if match:
                found.setdefault(f"mdb{match[1]}", path)
            else:
                left_out.append(LeftOut(path.name, "not a file name of mini-MIAS"))
    return found


def patient_of(name: str) -> str:
    """Return whose breast a picture shows: mdb001 and mdb002 are of `patient-001`."""
    return f"patient-{(int(name[3:6]) + 1) // 2:03d}"


def lesion_box(circle: tuple[int, int, int], width: int, height: int) -> Box:
    """Return the square around a lesion's circle in px of the picture, from its top left.

    Args:
        circle: centre x, y and radius in px of 1024, y from the bottom.
        width: of the picture, px.
        height: of the picture, px.
    """
    x, y, radius = circle
    across, down = width / FRAME_PX, height / FRAME_PX
    return Box(
        (x - radius) * across,
        (FRAME_PX - y - radius) * down,
        2 * radius * across,
        2 * radius * down,
    )


def _whole(path: Path, findings: Sequence[Finding], cut: CutOptions) -> Source:
    name = findings[0].name
    abnormal = any(f.kind != NORMAL for f in findings)
    severities = {f.severity for f in findings if f.severity}
    return Source(
        slide_id=name,
        patient_id=patient_of(name),
        label="abnormal" if abnormal else "normal",
        files=(path,),
        open=partial(_open_whole, path, tuple(findings), cut),
        settings={"circles": [f.circle and list(f.circle) for f in findings]},
        columns={
            "tissue": findings[0].tissue,
            "severity": "malignant" if "malignant" in severities else "".join(severities),
        },
    )


def _lesions(
    path: Path, findings: Sequence[Finding], cut: CutOptions, left_out: list[LeftOut]
) -> list[Source]:
    """Make a source of each lesion that has a centre and a radius."""
    sources = []
    lesions = [f for f in findings if f.kind != NORMAL]
    for number, finding in enumerate(lesions, start=1):
        slide_id = f"{finding.name}_{number}"
        if finding.circle is None or not finding.severity:
            left_out.append(LeftOut(slide_id, "the table lacks its centre, radius or severity"))
            continue
        sources.append(
            Source(
                slide_id=slide_id,
                patient_id=patient_of(finding.name),
                label=finding.severity,
                files=(path,),
                open=partial(_open_lesion, path, finding, cut),
                settings={"circle": list(finding.circle), "lesion": slide_id},
                columns={"tissue": finding.tissue, "finding": finding.kind},
            )
        )
    return sources


def _with_split(source: Source, side: str) -> Source:
    return Source(
        source.slide_id, source.patient_id, source.label, source.files, source.open,
        source.settings, {**source.columns, "split": side},
    )  # fmt: skip


def _open_lesion(path: Path, finding: Finding, cut: CutOptions) -> Collection:
    picture = _read(path)
    if finding.circle is None:
        raise SlideError("the table gives no centre and radius of it")
    height, width = picture.pixels.shape
    box = lesion_box(finding.circle, width, height)
    draw = [crc32(f"{finding.name} {finding.circle}".encode())]
    return lesion_pictures(picture, box, cut, draw, {"abnormality": finding.kind})


def _open_whole(path: Path, findings: Sequence[Finding], cut: CutOptions) -> Collection:
    picture = _read(path)
    height, width = picture.pixels.shape
    boxes = [lesion_box(f.circle, width, height) for f in findings if f.circle]
    return breast_picture(picture, boxes, cut, {})


def _read(path: Path) -> GreyPicture:
    pixels, max_value = read_grey(path)
    height, width = pixels.shape
    mpp = Mpp(FRAME_UM * FRAME_PX / width, FRAME_UM * FRAME_PX / height)
    return GreyPicture(pixels, max_value, mpp)
