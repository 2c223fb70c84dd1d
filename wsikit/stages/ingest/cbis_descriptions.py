"""Read the description CSVs of CBIS-DDSM: which lesions there are, of whom, benign or malignant.

Path fields hold line breaks; mass files say `breast_density`, calcification files `breast density`.
The paths are never opened: only the name of their first folder is taken from them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from wsikit.errors import UsageError
from wsikit.stages.ingest.cbis_folders import FOLDER, Abnormality, files_below
from wsikit.stages.ingest.collection import LeftOut

LABELS = {
    "MALIGNANT": "malignant",
    "BENIGN": "benign",
    "BENIGN_WITHOUT_CALLBACK": "benign",
}

MAX_CSV_BYTES = 64_000_000

_CSV = re.compile(r"(mass|calc)_case_description_(train|test)_set.*\.csv", re.IGNORECASE)
_NEEDED = ("patient id", "left or right breast", "image view", "abnormality id", "pathology")


class Lesion(NamedTuple):
    """One row of a description CSV.

    Attributes:
        folder: name of its folder of masks, such as `Mass-Training_P_00001_LEFT_CC_1`.
        image: name of its mammogram's folder: the same without the number.
        patient_id: such as `P_00001`.
        kind: `mass` or `calc`.
        published: `train` or `test`.
        view: `CC` or `MLO`.
        breast: `LEFT` or `RIGHT`.
        number: among the lesions of its mammogram.
        label: `benign` or `malignant`.
    """

    folder: str
    image: str
    patient_id: str
    kind: str
    published: str
    view: str
    breast: str
    number: int
    label: str


def read_descriptions(
    folder: Path, abnormality: Abnormality = "mass"
) -> tuple[list[Lesion], list[LeftOut]]:
    """Read the description CSVs that lie in a folder or below it.

    Args:
        folder: where they lie.
        abnormality: which of them.

    Returns:
        The lesions in the order of the files, and rows that cannot be used.

    Raises:
        UsageError: there are none, or one is no such CSV.
    """
    wanted = ("mass", "calc") if abnormality == "both" else (abnormality,)
    tables = sorted(
        (match[1].lower(), path)
        for path in files_below(folder)
        if (match := _CSV.fullmatch(path.name)) and match[1].lower() in wanted
    )
    if not tables:
        kinds = " or ".join(wanted)
        raise UsageError(
            f"{folder}: holds no {kinds}_case_description_*_set.csv",
            "put the data set's CSVs there, or give their folder with --csv",
        )
    lesions: dict[str, Lesion] = {}
    left_out: list[LeftOut] = []
    by_name = {path.name: path for _, path in reversed(tables)}  # of copies, one is read
    for path in by_name.values():
        for line, row in _rows(path):
            lesion = _lesion(row)
            where = f"{path.name}, line {line}"
            if lesion is None:
                left_out.append(LeftOut(where, "does not name a lesion and its pathology"))
            elif lesion.folder in lesions:
                left_out.append(LeftOut(where, f"{lesion.folder} stands twice"))
            else:
                lesions[lesion.folder] = lesion
    return list(lesions.values()), left_out


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV whose fields may hold line breaks; names lower case, `_` as a space."""
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise UsageError(f"{path}: larger than any description CSV", "check the file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip().lower().replace("_", " ") for name in next(reader, [])]
            missing = [name for name in _NEEDED if name not in header]
            if missing:
                raise UsageError(
                    f"{path}: column '{missing[0]}' is missing", "give the data set's own CSVs"
                )
            return [
                (reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=False)))
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error})", "check the file") from error


def _lesion(row: Mapping[str, str]) -> Lesion | None:
    """Read a row; the folder's name is taken from its paths, and must agree with its columns."""
    paths = (row.get(name, "") for name in ("roi mask file path", "cropped image file path"))
    names = (path.replace("\\", "/").partition("/")[0].strip() for path in paths)
    match = next((m for m in map(FOLDER.fullmatch, names) if m and m["number"]), None)
    label = LABELS.get(row.get("pathology", "").upper())
    if match is None or label is None:
        return None
    stated = (row.get("patient id"), row.get("left or right breast"), row.get("image view"))
    if stated != (match["patient"], match["breast"], match["view"]):
        return None
    return Lesion(
        folder=match[0],
        image=match["image"],
        patient_id=match["patient"],
        kind=match["kind"].lower(),
        published="train" if match["side"] == "Training" else "test",
        view=match["view"],
        breast=match["breast"],
        number=int(match["number"]),
        label=label,
    )
