"""A collection: the pictures of one source, which become one slide of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wsikit.types import Box, Mpp, PatchPixels, Size

FACTS = frozenset(
    ("abnormality", "boxes", "centre", "height", "magnification", "origin", "picture", "scale",
     "sequence", "view", "side", "width")
)  # fmt: skip
"""What may be kept of a picture: never a name, a date or an identity.

`origin` is a digest of what it was made of, by which the same picture under two patients is found:
of a mammogram's pixels, as copies of it may have other headers and masks; else of the file.
"""

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Collection:
    """The pictures of one source, ready to be read.

    Attributes:
        size: (width, height) of each of them, px.
        facts: one mapping a picture, keys of `FACTS`; their number is that of the pictures.
        read: number of a picture -> (H, W, 3) uint8, or (H, W, 1) uint16 where `grey`; raises
            `SlideError` where it cannot be decoded.
        grey: whether the pictures are 16-bit grey.
        max_value: what white is.
        mpp: micrometres per pixel; None where nobody states it.
        notes: what could not be had of it, though its pictures could, a line each.
    """

    size: Size
    facts: Sequence[Facts]
    read: Callable[[int], PatchPixels]
    grey: bool = False
    max_value: int = 255
    mpp: Mpp | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        unknown = {key for facts in self.facts for key in facts} - FACTS
        if unknown:
            raise ValueError(f"facts that may not be kept: {sorted(unknown)}")


@dataclass(frozen=True)
class Source:
    """One slide to be made, before any pixel is read.

    Attributes:
        slide_id: its id in the store.
        patient_id: whose it is.
        label: its class; empty where there is none.
        files: what its pixels are made from.
        open: looks at the files and returns the pictures; raises `SlideError`.
        settings: what decides the pictures besides the files and the store's recipe.
        columns: more of the cohort's columns: `site`, `split` and what the data set tells.
    """

    slide_id: str
    patient_id: str
    label: str
    files: tuple[Path, ...]
    open: Callable[[], Collection]
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


class LeftOut(NamedTuple):
    """Something that was found and not taken.

    Attributes:
        name: a file, a row or a slide, as its user knows it.
        reason: why, in a few words.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class DataSet:
    """What was found of a data set.

    Attributes:
        name: the data set's, as in `wsikit ingest NAME`.
        sources: the slides to be made.
        recipe: what all of them have in common.
        left_out: what was found and is not taken, on purpose or because it cannot be.
        broken: slide id -> why a slide that was expected cannot be made; it counts as failed.
        notes: what the user should know, a line each.
        split: how the cohort's `split` column came about; empty where it has none.
    """

    name: str
    sources: Sequence[Source]
    recipe: Mapping[str, Any]
    left_out: Sequence[LeftOut] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    split: str = ""


def size_recipe(size: Size) -> dict[str, Any]:
    """Return what a store's recipe says of its pictures' size and resolution."""
    height = {} if size.width == size.height else {"height": size.height}
    return {"size": size.width, **height, "mpp": "each slide's own"}


def box_in(box: Box, frame: Box, scale: tuple[float, float]) -> list[float]:
    """Move a box into the frame of a picture cut out of an image.

    Args:
        box: in px of the image.
        frame: what was cut out, in px of the image.
        scale: px of the image per px of the picture, along x and y.

    Returns:
        (x, y, width, height) in px of the picture, to a hundredth; it may reach beyond it.
    """
    numbers = (
        (box.x - frame.x) / scale[0],
        (box.y - frame.y) / scale[1],
        box.width / scale[0],
        box.height / scale[1],
    )
    return [round(number, 2) for number in numbers]
