"""The patches that scored highest and lowest, so that a reader can see whether to believe them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsikit.heatmap.colours import HEAT_MAP, heat, heat_lut
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import DPI, MARGIN, Canvas, clean, count_words, shorten
from wsikit.types import Mpp, Size, UInt8Image

WIDEST_PX = 2300
"""A row of patches takes up no more than this; there is room for three at least."""

LARGEST_PX = 512
"""Longer side of a patch on the sheet; a larger one is shrunk to it."""

SMALLEST_CELL = 150
"""The words under a patch take up this much width, however small it is."""

BORDER, GAP, WORDS, HEADING, TOP, FOOT = 8, 18, 46, 44, 84, 102

WHITE, BLACK = (255, 255, 255), (0, 0, 0)

NOT_SQUARE = 1.02
"""Ratio of mpp x and y from which the reader is told that a pixel is not square."""


@dataclass(frozen=True)
class PictureFacts:
    """Say of a patch that is a picture of its own what its place on a slide says of others.

    Attributes:
        name: what to call it; empty of an only one.
        boxes: (x, y, width, height) of its lesions, px of the picture; None where nobody says
            whether there are any.
    """

    name: str
    boxes: Sequence[Sequence[float]] | None


@dataclass(frozen=True)
class Extremes:
    """Name the patches that are shown, by their row in the scores.

    Attributes:
        highest: the highest score first.
        lowest: the lowest score first; none of them is among the highest.
    """

    highest: NDArray[np.int64]
    lowest: NDArray[np.int64]


def extremes(scores: PatchScores, top: int, apart_l0: Size | None = None) -> Extremes:
    """Choose the `top` highest and lowest patches; equal scores in their order on the slide.

    Args:
        scores: the slide's patches.
        top: how many of each, at most.
        apart_l0: width and height in level-0 px of what is shown of each, where that is more than
            the patch: one whose picture would overlap a better one's is passed over.
    """
    order = np.argsort(-scores.values, kind="stable")
    apart = apart_l0 or scores.side_l0
    highest = _apart(scores, order, top, apart)
    rest = order[~np.isin(order, highest)][::-1]
    return Extremes(highest, _apart(scores, rest, top, apart))


def _apart(
    scores: PatchScores, order: NDArray[np.int64], top: int, apart: Size
) -> NDArray[np.int64]:
    """Take the first patches of an order that do not overlap one another."""
    room = np.array(apart) - 2  # corners are rounded, so neighbours may share a pixel
    chosen: list[int] = []
    for patch in order.tolist():
        if len(chosen) == top:
            break
        away = np.abs(scores.xy_l0[chosen] - scores.xy_l0[patch])
        if not (away < room).all(axis=1).any():
            chosen.append(patch)
    return np.array(chosen, np.int64)


def draw_contact_sheet(
    scores: PatchScores,
    shown: Extremes,
    pictures: Sequence[UInt8Image],
    um_per_px: Mpp,
    title: str,
    path: Path,
    *,
    colours: str = HEAT_MAP,
    origin: str = "",
    mpp_known: bool = True,
    facts: Sequence[PictureFacts] | None = None,
) -> None:
    """Write the chosen patches as PNG, each with its rank, score and level-0 corner.

    Patches that are pictures of their own are named in place of the corner, their lesions boxed.

    Args:
        scores: the slide's patches.
        shown: which of them.
        pictures: their pixels as the model saw them, (h, w, 3) uint8: the highest, then the lowest.
        um_per_px: physical size of a pixel of theirs.
        title: first line of the sheet.
        path: the PNG to write.
        colours: one of `HEAT_MAPS`, for the borders.
        origin: where the pixels come from, in words.
        mpp_known: whether `um_per_px` is true; if not, no scale bar is drawn.
        facts: one a patch of `scores`, where they are pictures of their own.

    Raises:
        UsageError: the file cannot be written.
    """
    shrink = max([1.0, *(max(picture.shape[:2]) / LARGEST_PX for picture in pictures)])
    small = [_shrunk(picture, shrink) for picture in pictures]
    order = np.concatenate([shown.highest, shown.lowest]).tolist()
    own = None if facts is None else [facts[patch] for patch in order]
    if own is not None:
        small = [_boxed(i, o.boxes, shrink) for i, o in zip(small, own, strict=True)]
    count = len(shown.highest)
    groups = [(f"highest {count:,}", shown.highest, small[:count])]
    if len(shown.lowest):
        groups.append((f"lowest {len(shown.lowest):,}", shown.lowest, small[count:]))
    cell = Size(
        max([SMALLEST_CELL, *(picture.shape[1] + 2 * BORDER for picture in small)]),
        max([0, *(picture.shape[0] + 2 * BORDER for picture in small)]) + WORDS,
    )
    columns = _columns(count, (WIDEST_PX + GAP) // (cell.width + GAP))
    rows = [math.ceil(len(chosen) / columns) for _, chosen, _ in groups]
    height = TOP + FOOT + HEADING * len(groups) + sum(rows) * (cell.height + GAP)
    canvas = Canvas(Size(2 * MARGIN + columns * (cell.width + GAP) - GAP, height), title)
    canvas.text(MARGIN, 56, _fit(scores.shown_meaning, canvas.size.width - 330), size=10)
    _legend(canvas, scores, colours)
    at = TOP
    for (heading, chosen, images), count in zip(groups, rows, strict=True):
        of = f" of {count_words(len(scores.values), scores.unit)}"
        words = heading + of if len(chosen) else "no patch was scored in this slide"
        canvas.text(MARGIN, at + HEADING - 14, words, size=12)
        at += HEADING
        for n, (patch, image) in enumerate(zip(chosen.tolist(), images, strict=True)):
            left = MARGIN + (n % columns) * (cell.width + GAP)
            top = at + n // columns * (cell.height + GAP)
            place = _place(scores, patch) if facts is None else facts[patch].name
            _draw_patch(canvas, scores, patch, image, (left, top), colours, place)
        at += count * (cell.height + GAP)
    if small and mpp_known:
        canvas.bar(MARGIN, at + 6, max(120, small[0].shape[1] / 2), um_per_px.x * shrink)
    room = canvas.size.width
    legend = _legend_words(um_per_px, mpp_known) if own is None else _picture_words(own)
    words = _fit(legend, room, 9)
    canvas.text(MARGIN, canvas.size.height - 30, words, size=9)
    canvas.caption(_fit(_origin_words(shrink, origin), room, 9))
    canvas.save(path)


def _columns(count: int, most: int) -> int:
    """Return the patches of a row, so that rows are equally long: 8 in rows of 7 are 4 and 4.

    There are three at least, for the words over them.
    """
    rows = math.ceil(count / max(3, most))
    return max(3, math.ceil(count / max(1, rows)))


def _draw_patch(
    canvas: Canvas,
    scores: PatchScores,
    patch: int,
    image: UInt8Image,
    corner: tuple[int, int],
    colours: str,
    place: str,
) -> None:
    """Place one patch in a border of its colour, with its words below."""
    left, top = corner
    height, width = image.shape[:2]
    framed = np.empty((height + 2 * BORDER, width + 2 * BORDER, 3), np.uint8)
    framed[:] = heat(scores.shown[patch : patch + 1], colours)[0]
    framed[BORDER:-BORDER, BORDER:-BORDER] = image
    canvas.image(framed, left, top)
    under = top + len(framed)
    canvas.text(
        left, under + 19, f"#{int(scores.rank[patch]):,}   {_score(scores, patch)}", size=10
    )
    canvas.text(left, under + 38, clean(place), size=9)


def _place(scores: PatchScores, patch: int) -> str:
    x, y = scores.xy_l0[patch].tolist()
    return f"x {x:,}  y {y:,}"


def _score(scores: PatchScores, patch: int) -> str:
    if scores.by_percentile:
        return f"percentile {scores.percentile[patch]:.1f}"
    return f"{scores.shown[patch]:.3f}"


def _legend(canvas: Canvas, scores: PatchScores, colours: str) -> None:
    """Draw the colours of the borders, at the right of the first lines."""
    left, top = canvas.size.width - MARGIN - 240, 44
    steps = heat_lut(colours)[np.linspace(0, 255, 200).astype(int)]
    canvas.image(np.repeat(steps[None], 12, axis=0), left, top)
    canvas.text(left - 14, top + 11, "0", size=9)
    canvas.text(left + 206, top + 11, "100" if scores.by_percentile else "1", size=9)


def _legend_words(um_per_px: Mpp, mpp_known: bool) -> str:
    """Say what border, numbers and bar are."""
    words = "border: the score's colour; x, y: corner of what was scored, level-0 px"
    if not mpp_known:
        words += "; the size of a pixel in um is not known"
    elif max(um_per_px) / min(um_per_px) > NOT_SQUARE:
        words += f"; bar: across (a pixel is {um_per_px.x:.3g} x {um_per_px.y:.3g} um)"
    return words


def _picture_words(shown: Sequence[PictureFacts]) -> str:
    """Say what border and lines are."""
    words = "border: the score's colour"
    if any(facts.boxes for facts in shown):
        return f"{words}; black line: known lesion"
    told = any(facts.boxes is not None for facts in shown)
    return f"{words}; no known lesion" if told else words


def _origin_words(shrink: float, origin: str) -> str:
    """Say where the pixels come from, and whether they are fewer than the model saw."""
    smaller = f"{shrink:.3g} times smaller than the model saw them" if shrink > 1 else ""
    return "; ".join(filter(None, [origin, smaller]))


def _fit(words: str, room_px: float, size: float = 10) -> str:
    """Cut words to a width; a character takes up about 0.57 of its size."""
    return shorten(clean(words), (room_px - 2 * MARGIN) / (0.57 * size * DPI / 72))


def _boxed(
    picture: UInt8Image, boxes: Sequence[Sequence[float]] | None, shrink: float
) -> UInt8Image:
    """Draw boxes into a picture: a black line on a white one, seen on light and on dark."""
    if not boxes:
        return picture
    image = Image.fromarray(picture)
    drawing = ImageDraw.Draw(image)
    for x, y, width, height in boxes:
        left, top, right, low = (round(side / shrink) for side in (x, y, x + width, y + height))
        right, low = max(left, right - 1), max(top, low - 1)  # the last pixel inside
        drawing.rectangle((left - 2, top - 2, right + 2, low + 2), outline=WHITE, width=6)
        drawing.rectangle((left, top, right, low), outline=BLACK, width=2)
    return np.asarray(image, np.uint8)


def _shrunk(picture: UInt8Image, shrink: float) -> UInt8Image:
    if shrink <= 1:
        return picture
    height, width = (max(1, round(side / shrink)) for side in picture.shape[:2])
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
    return np.asarray(image, np.uint8)
