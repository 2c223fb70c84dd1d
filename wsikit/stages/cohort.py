"""The cohort: which slides there are, and what is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from wsikit.errors import CohortError, StoreError, UsageError
from wsikit.slides.open import default_slide_id, find_slides
from wsikit.store.store import checked_slide_id
from wsikit.types import Mpp


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
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise CohortError(f"{path}: cannot be read as CSV ({reason})", "check the file") from error
    table.columns = [str(column).strip() for column in table.columns]
    table = table.map(str.strip)
    if "slide" not in table and "slide_id" not in table:
        hints = get_close_matches("slide", [str(c) for c in table.columns], n=1)
        hint = f" (is '{hints[0]}' meant?)" if hints else ""
        raise CohortError(
            f"{path}: column 'slide' is missing{hint}; it has {', '.join(table.columns)}",
            "name the column of slide paths 'slide'",
        )
    if table.empty:
        raise CohortError(f"{path}: the table has no rows", "list one slide a row")
    if "slide_id" not in table:
        table["slide_id"] = [default_slide_id(Path(slide)) for slide in table["slide"]]
    _check_ids(table, path)
    patients = table["patient_id"] if "patient_id" in table else table["slide_id"]
    table["patient_id"] = patients.where(patients != "", table["slide_id"])
    return table


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
        return Mpp(*(numbers * 2 if len(numbers) == 1 else numbers))
    except (ValueError, TypeError):
        raise CohortError(
            f"{where}: mpp '{text}' is not a number", "write micrometres per pixel, like 0.25"
        ) from None
