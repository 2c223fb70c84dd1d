"""What slides are normalised to: one file that serves every method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from wsikit.atomic import write_bytes
from wsikit.errors import ConfigError
from wsikit.stain.json_numbers import counts_or_values
from wsikit.stain.lab_statistics import LabStatistics
from wsikit.stain.lookup import Histogram
from wsikit.stain.sample import MIN_TISSUE_PX, StainSample
from wsikit.stain.stain_statistics import StainStatistics

PACKAGED = "packaged"

SCHEMA = 2
"""The form of a reference file. Form 1 had no number, and nothing but a histogram."""

MAX_FILE_BYTES = 2**20
"""A larger file is no reference."""

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Reference:
    """Hold how a well stained slide looks.

    Args:
        histogram: (3, 256) int64, its tissue.
        lab: its tissue in Lab; None in a file of form 1.
        stains: its stains; None in a file of form 1, and where it shows fewer than two.
    """

    histogram: Histogram
    lab: LabStatistics | None = None
    stains: StainStatistics | None = None


def fit_reference(sample: StainSample) -> Reference:
    """Make a slide the reference.

    Args:
        sample: the slide's.

    Raises:
        ConfigError: it shows too little tissue.
    """
    if sample.nearly_blank:
        raise ConfigError(
            f"a reference slide needs {MIN_TISSUE_PX} pixels of tissue, this one shows "
            f"{sample.tissue_px}",
            "choose another slide",
        )
    return Reference(sample.histogram, LabStatistics.of(sample), StainStatistics.of(sample))


def save_reference(reference: Reference, path: Path) -> None:
    """Write a reference to a file that `load_reference` takes.

    Raises:
        UsageError: the file cannot be written.
    """
    write_bytes(path, (json.dumps(_to_json(reference)) + "\n").encode())


def load_reference(name: str = PACKAGED) -> Reference:
    """Load a reference.

    Args:
        name: `packaged`, or the path of a JSON file that `save_reference` wrote. A file of form 1,
            `{"histogram": [[256 counts of R], [of G], [of B]]}`, serves the histogram methods.

    Raises:
        ConfigError: the file cannot be read or holds something else.
    """
    path = files("wsikit.stain") / "reference.json" if name == PACKAGED else Path(name)
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MAX_FILE_BYTES))
        return _from_json(content)
    except OSError as error:
        raise ConfigError(
            f"tile.stain.reference: {name} cannot be read ({error.strerror})", "check the path"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"tile.stain.reference: {name} holds no histogram, or parts that are no reference's "
            f"({type(error).__name__}: {error!s:.80})",
            "make one with 'wsikit tile --reference SLIDE', or write "
            '{"histogram": [[256 counts], [256 counts], [256 counts]]}',
        ) from error


def reference_digest(reference: Reference) -> str:
    """Return 16 hex digits of the SHA-256 of all a reference holds, for the recipe."""
    return hashlib.sha256(json.dumps(_to_json(reference)).encode()).hexdigest()[:16]


def needed(part: Part | None, method: str) -> Part:
    """Return a part of a reference.

    Raises:
        ConfigError: the reference lacks it.
    """
    if part is None:
        raise ConfigError(
            f"tile.stain.reference: this reference cannot serve method {method}: it holds "
            "histograms only, or was made from a slide without two stains",
            "make one with 'wsikit tile --reference SLIDE', or set tile.stain.method=histogram",
        )
    return part


def _to_json(reference: Reference) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": SCHEMA, "histogram": reference.histogram.tolist()}
    for name, part in (("lab", reference.lab), ("stains", reference.stains)):
        content[name] = None if part is None else part.to_json()
    return content


def _from_json(content: Any) -> Reference:
    if not isinstance(content, Mapping):
        raise ValueError("it is no JSON object")
    if content.get("schema", 1) not in (1, SCHEMA):
        raise ValueError(f"its form is {content['schema']!r:.20}, this wsikit knows 1 and {SCHEMA}")
    histogram = counts_or_values(content["histogram"])
    if not histogram.any(axis=1).all():
        raise ValueError("a channel's counts are all nought")
    lab, stains = content.get("lab"), content.get("stains")
    return Reference(
        histogram,
        None if lab is None else LabStatistics.from_json(lab),
        None if stains is None else StainStatistics.from_json(stains),
    )
