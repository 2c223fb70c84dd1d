"""The cohort: which slides there are, and what is known of them."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from wsikit.errors import CohortError, StoreError, UsageError
from wsikit.slides.open import default_slide_id, find_slides
from wsikit.store.store import checked_slide_id
from wsikit.types import Mpp

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SourceSlide:
    """A slide to be tiled.

    Attributes:
        slide_id: its id in the store.
        path: its file, or its folder for DICOM.
        mpp: what the user says of its level-0 resolution; None: ask the file.
    """

    slide_id: str
    path: Path
    mpp: Mpp | None = None


def source_slides(inputs: Sequence[Path], mpp: Mpp | None = None) -> list[SourceSlide]:
    """List the slides a command names.

    Args:
        inputs: slide files and folders, or one cohort CSV.
        mpp: resolution given for all slides; the CSV's own column goes before it.

    Raises:
        UsageError: a path is missing or a folder holds no slide.
        CohortError: the CSV is wrong, or two slides would share an id.
    """
    if len(inputs) == 1 and inputs[0].suffix.lower() == ".csv":
        return _from_cohort(inputs[0], mpp)
    if any(path.suffix.lower() == ".csv" for path in inputs):
        raise UsageError("a cohort CSV stands alone", "name one CSV, or slides and folders")
    slides = [SourceSlide(default_slide_id(p), p, mpp) for p in find_slides(inputs)]
    taken: dict[str, Path] = {}
    for slide in slides:
        other = taken.setdefault(slide.slide_id, slide.path)
        if other is not slide.path:
            raise CohortError(
                f"{other} and {slide.path} would both be slide '{slide.slide_id}'",
                "list them in a cohort CSV with a slide_id column",
            )
    return slides


def read_cohort(path: Path) -> pd.DataFrame:
    """Read a cohort CSV.

    Args:
        path: the CSV; needs the column `slide` (paths, relative to the CSV) or `slide_id`.

    Returns:
        One row a slide, all strings, missing values as empty strings; columns `slide_id`,
        `patient_id` (the slide's own id where the CSV has none), `label`, and of `slide`, `site`,
        `split`, `mpp` those the CSV has.

    Raises:
        CohortError: unreadable, empty, a needed column is missing, an id is unusable or repeated.
    """
    table = read_rows(path)
    if "slide" not in table and "slide_id" not in table:
        hints = get_close_matches("slide", [str(c) for c in table.columns], n=1)
        hint = f" (is '{hints[0]}' meant?)" if hints else ""
        raise CohortError(
            f"{path}: column 'slide' is missing{hint}; it has {', '.join(table.columns)}",
            "name the column of slide paths 'slide'",
        )
    if table.empty:
        raise CohortError(f"{path}: the table has no rows", "list one slide a row")
    if "slide" in table:
        _check_paths(table, path)
        named = table["slide_id"] if "slide_id" in table else [""] * len(table)
        table["slide_id"] = [
            given or default_slide_id(Path(slide))
            for given, slide in zip(named, table["slide"], strict=True)
        ]
    _check_ids(table, path)
    patients = table["patient_id"] if "patient_id" in table else table["slide_id"]
    table["patient_id"] = patients.where(patients != "", table["slide_id"])
    return table


def read_rows(path: Path) -> pd.DataFrame:
    """Read a CSV as text, every row as long as the header."""
    import pandas as pd  # a sixth of the start-up of a command that slides are named to

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [(reader.line_num, row) for reader in [csv.reader(file)] for row in reader]
    except UnicodeDecodeError as error:
        raise CohortError(f"{path}: not UTF-8 text", "save it as CSV in UTF-8") from error
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CohortError(f"{path}: cannot be read as CSV ({reason})", "check the file") from error
    stripped = [(line, [cell.strip() for cell in row]) for line, row in rows]
    filled = [(line, row) for line, row in stripped if any(row)]
    if not filled:
        raise CohortError(f"{path}: the file is empty", "list one slide a row, under a header")
    (_, header), *body = filled
    if len(header) == 1 and ";" in header[0]:
        raise CohortError(f"{path}: columns are parted by semicolons", "save it with commas")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise CohortError(f"{path}: column '{repeated[0]}' stands twice", "keep one of them")
    for line, row in body:
        if len(row) != len(header):
            raise CohortError(
                f"{path}, line {line}: {len(row)} fields where the header has {len(header)}",
                "put fields that hold commas in double quotes",
            )
    return pd.DataFrame([row for _, row in body], columns=header, dtype=str)


def _check_paths(table: pd.DataFrame, path: Path) -> None:
    blank = [n for n, slide in enumerate(table["slide"], start=2) if not slide]
    if blank:
        raise CohortError(f"{path}, line {blank[0]}: 'slide' is empty", "give the slide's path")


def _check_ids(table: pd.DataFrame, path: Path) -> None:
    for line, slide_id in enumerate(table["slide_id"], start=2):
        try:
            checked_slide_id(slide_id)
        except StoreError as error:
            raise CohortError(f"{path}, line {line}: {error.what}", error.fix) from None
    repeated = [i for i, count in Counter(table["slide_id"]).items() if count > 1]
    if repeated:
        lines = [n + 2 for n, i in enumerate(table["slide_id"]) if i == repeated[0]]
        raise CohortError(
            f"{path}: slide id '{repeated[0]}' stands on lines {', '.join(map(str, lines))}",
            "give every slide an id of its own in the slide_id column",
        )


def require_column(table: pd.DataFrame, column: str, path: Path) -> None:
    """Raise CohortError unless the cohort has a column."""
    if column not in table:
        raise CohortError(
            f"{path}: column '{column}' is missing; it has {', '.join(table.columns)}",
            f"add a column '{column}'",
        )


def _from_cohort(path: Path, mpp: Mpp | None) -> list[SourceSlide]:
    table = read_cohort(path)
    require_column(table, "slide", path)
    given = table["mpp"] if "mpp" in table else [""] * len(table)
    return [
        SourceSlide(slide_id, path.parent / slide, parse_mpp(value, f"{path}: {slide_id}") or mpp)
        for slide_id, slide, value in zip(table["slide_id"], table["slide"], given, strict=True)
    ]


def parse_mpp(text: str, where: str) -> Mpp | None:
    """Read one number, or two (x and y) parted by a space or comma; None if empty.

    Raises:
        CohortError: it is neither.
    """
    parts = text.replace(",", " ").split()
    if not parts:
        return None
    try:
        numbers = [float(part) for part in parts]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(text)
        return Mpp(*(numbers * 2 if len(numbers) == 1 else numbers))
    except (ValueError, TypeError):
        raise CohortError(
            f"{where}: mpp '{text}' is not a number", "write micrometres per pixel, like 0.25"
        ) from None
