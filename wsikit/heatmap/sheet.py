"""Lay pictures of one slide out on a sheet: bare tissue, coloured tissue, scale bar, words.

Every picture is resampled to the pixels it takes up on the sheet before anything is painted on it:
patches keep crisp edges, matplotlib never resamples, and `panel_box` says where a pixel is.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from wsikit.atomic import whole_file
from wsikit.types import BoolMask, Mpp, Size, UInt8Image

PANEL_PX = 1000
"""Longer side of each picture on the sheet."""

DPI = 100
MARGIN, GAP, TITLE, HEADING, FOOT, LEGEND = 28, 36, 48, 30, 78, 190
INK = "#1a1a1a"

MIN_SLOT = 420
"""A narrow slide still leaves this much width for the words under and over it."""

MIN_HEIGHT = 440
"""A low, wide one leaves this much height for the legend."""

FONT = "DejaVu Sans"
"""Comes with matplotlib, so the same sheet is drawn everywhere."""


@dataclass(frozen=True)
class TruthOutline:
    """Draw the border of a known region over the coloured tissue.

    Attributes:
        mask: (H, W) bool, its corner at the origin of the level-0 frame.
        downsample: level-0 px per mask px along x and y.
        label: what the line encloses ("tumour, as annotated").
    """

    mask: BoolMask
    downsample: tuple[float, float]
    label: str


@dataclass(frozen=True)
class Panel:
    """A thumbnail in the pixels of the sheet, physically undistorted.

    Attributes:
        image: (h, w, 3) uint8; a pixel is square in micrometres.
        scale: level-0 px per panel px along x and y.
        um_per_px: micrometres per panel px.
    """

    image: UInt8Image
    scale: tuple[float, float]
    um_per_px: float

    @property
    def size(self) -> Size:
        """Width and height on the sheet."""
        return Size(self.image.shape[1], self.image.shape[0])

    @property
    def stacked(self) -> bool:
        """Whether a wide slide's two pictures go one above the other."""
        return self.size.width > 1.5 * self.size.height


def fit_panel(
    thumbnail: UInt8Image, thumbnail_scale: tuple[float, float], mpp: Mpp, longer: int = PANEL_PX
) -> Panel:
    """Resample a thumbnail so that its longer physical side takes `longer` pixels.

    Args:
        thumbnail: (h, w, 3) uint8.
        thumbnail_scale: level-0 px per thumbnail px along x and y.
        mpp: micrometres per level-0 px.
        longer: pixels.
    """
    height, width = thumbnail.shape[:2]
    width_l0, height_l0 = width * thumbnail_scale[0], height * thumbnail_scale[1]
    um_per_px = max(width_l0 * mpp.x, height_l0 * mpp.y) / longer
    size = Size(
        max(1, round(width_l0 * mpp.x / um_per_px)), max(1, round(height_l0 * mpp.y / um_per_px))
    )
    resized = Image.fromarray(thumbnail).resize(size, Image.Resampling.BICUBIC)
    scale = (width_l0 / size.width, height_l0 / size.height)
    return Panel(np.asarray(resized, np.uint8), scale, um_per_px)


def panel_box(panel: Panel, index: int) -> tuple[int, int, int, int]:
    """Return where picture 0 or 1 lies on the sheet: left, top, width, height in pixels."""
    slot = max(panel.size.width, MIN_SLOT)
    left, top = MARGIN, TITLE + HEADING
    if index == 1 and panel.stacked:
        top += panel.size.height + HEADING + GAP
    elif index == 1:
        left += slot + GAP
    return (left, top, *panel.size)


class Canvas:
    """Draw on a page measured in pixels from its top left corner, without pyplot's global state.

    Args:
        size: width and height of the page.
        title: first line, cut in the middle where it is too long.
    """

    def __init__(self, size: Size, title: str) -> None:
        self.size = size
        self.figure = Figure(
            figsize=(size.width / DPI, size.height / DPI), dpi=DPI, facecolor="white"
        )
        words = shorten(clean(title), (size.width - 2 * MARGIN) / 12.5)
        self.text(MARGIN, 30, words, size=13, weight="bold")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes that take up exactly these pixels of the page."""
        across, down = self.size
        return self.figure.add_axes(
            (left / across, 1 - (top + height) / down, width / across, height / down)
        )

    def text(
        self, x: float, baseline: float, words: str, size: float = 10, weight: str = "normal"
    ) -> Text:
        """Write plain words; a dollar sign in a slide's name starts no formula."""
        return self.figure.text(
            x / self.size.width,
            1 - baseline / self.size.height,
            words,
            fontsize=size,
            fontweight=weight,
            fontfamily=FONT,
            color=INK,
            parse_math=False,
        )

    def image(self, image: UInt8Image, left: float, top: float) -> Axes:
        """Place a picture, one image pixel a page pixel."""
        height, width = image.shape[:2]
        axes = self.axes(left, top, width, height)
        axes.imshow(image, extent=(0, width, height, 0), aspect="auto", interpolation="none")
        axes.set_axis_off()
        return axes

    def bar(self, left: float, top: float, room_px: float, um_per_px: float) -> None:
        """Draw a scale bar of a round length, at most `room_px` long, with its words below."""
        length_um = round_length(room_px * um_per_px)
        axes = self.axes(left, top, length_um / um_per_px, 6)
        axes.set_facecolor(INK)
        axes.set_xticks([])
        axes.set_yticks([])
        self.text(left, top + 26, length_words(length_um))

    def caption(self, words: str) -> None:
        """Write the last line of the page."""
        self.text(MARGIN, self.size.height - 12, words, size=9)

    def save(self, path: Path) -> None:
        """Write the page as PNG, without a time or a program's name: equal pages, equal files.

        Raises:
            UsageError: the file cannot be written.
        """
        raw = io.BytesIO()
        self.figure.savefig(raw, format="rgba", dpi=DPI)
        picture = Image.frombytes("RGBA", self.size, raw.getvalue()).convert("RGB")
        with whole_file(path) as temporary:
            picture.save(temporary, format="PNG")


class Sheet(Canvas):
    """Show a slide twice: bare, and with something painted on it.

    Args:
        panel: the slide's bare tissue; the sheet is made to fit two pictures of its size.
        title: first line, cut in the middle where it is too long.
    """

    def __init__(self, panel: Panel, title: str) -> None:
        self.panel = panel
        left, top, width, height = panel_box(panel, 1)
        super().__init__(
            Size(left + max(width, MIN_SLOT) + LEGEND, max(top + height + FOOT, MIN_HEIGHT)), title
        )

    def picture(self, index: int, image: UInt8Image, heading: str) -> Axes:
        """Place picture 0 or 1, one image pixel a sheet pixel, under its heading."""
        left, top, *_ = panel_box(self.panel, index)
        self.text(left, top - 10, heading)
        return self.image(image, left, top)

    def scale_bar(self) -> None:
        """Draw a bar of a round length under the last picture; it holds for both."""
        left, top, width, height = panel_box(self.panel, 1 if self.panel.stacked else 0)
        self.bar(left, top + height + 14, max(width, 160) / 4, self.panel.um_per_px)

    def legend_box(self) -> tuple[int, int, int]:
        """Return where the legend beside picture 1 starts and how high it may be: x, y, height.

        Beside a low picture it reaches up past it, so that its words keep their room.
        """
        left, top, width, height = panel_box(self.panel, 1)
        room = max(height, MIN_HEIGHT - TITLE - HEADING - FOOT)
        return left + width + 22, max(top + height - room, TITLE + HEADING), room

    def colour_bar(self, gradient: UInt8Image, labels: Sequence[str], words: str) -> None:
        """Draw what colours stand for beside picture 1, from low at the foot to high.

        Args:
            gradient: (256, 3) uint8, from low to high.
            labels: what stands beside the bar, at equal steps from foot to top.
            words: what the colours are; cut where there is no room.
        """
        x, y, height = self.legend_box()
        height = min(height, 420)
        axes = self.axes(x, y, 26, height)
        axes.imshow(gradient[:, None, :], extent=(0, 1, 0, 1), aspect="auto", origin="lower")
        axes.set_xticks([])
        axes.yaxis.tick_right()
        axes.yaxis.set_label_position("right")
        axes.set_yticks(np.linspace(0, 1, len(labels)), labels)
        axes.tick_params(labelsize=9, labelfontfamily=FONT, color=INK, labelcolor=INK)
        said = shorten(clean(words), height / 8.5)
        axes.set_ylabel(said, fontsize=10, fontfamily=FONT, color=INK, parse_math=False)

    def outline(self, axes: Axes, truth: TruthOutline) -> bool:
        """Draw a truth region's border on picture 1; return whether there was any."""
        inside = _sample(truth, self.panel)
        if not inside.any():
            return False
        # A rim of False closes the line where the region touches the picture's edge.
        rim = np.pad(inside, 1).astype(np.float32)
        width, height = self.panel.size
        lines = axes.contour(
            np.arange(-1, width + 1) + 0.5,
            np.arange(-1, height + 1) + 0.5,
            rim,
            levels=[0.5],
            colors=["black"],
            linewidths=[1.8],
        )
        lines.set_path_effects([effects.withStroke(linewidth=4.2, foreground="white")])
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        return True


def round_length(at_most_um: float) -> float:
    """Return the longest of 1, 2, 5 times a power of ten that is not above `at_most_um`."""
    power = 10.0 ** np.floor(np.log10(at_most_um))
    return float(max(step for step in (1, 2, 5) if step * power <= at_most_um * (1 + 1e-9)) * power)


def length_words(length_um: float) -> str:
    """Write a length with its unit: millimetres from 1,000 um on."""
    return f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} \N{MICRO SIGN}m"


def clean(words: str) -> str:
    """Keep what can be drawn.

    Control characters, direction marks and broken Unicode are dropped; a character that the font
    lacks becomes a replacement character, as matplotlib would otherwise warn of it.
    """
    kept = (
        " " if character.isspace() else character
        for character in words
        if character.isspace() or not unicodedata.category(character).startswith("C")
    )
    drawable = _drawable()
    return "".join(c if ord(c) in drawable else "\N{REPLACEMENT CHARACTER}" for c in kept)


@cache
def _drawable() -> frozenset[int]:
    """Return the code points that `FONT` has a glyph for."""
    return frozenset(get_font(findfont(FONT)).get_charmap())


def shorten(words: str, room: float) -> str:
    """Cut the middle out of words that take more than `room` characters."""
    if len(words) <= room:
        return words
    half = max(1, int(room - 1) // 2)
    return f"{words[:half]}\N{HORIZONTAL ELLIPSIS}{words[-half:]}"


def _sample(truth: TruthOutline, panel: Panel) -> NDArray[np.bool_]:
    """Return the mask at the centre of every panel pixel; outside the mask is outside."""

    def index(pixels: int, scale: float, downsample: float, limit: int) -> NDArray[np.int64]:
        at = np.floor((np.arange(pixels) + 0.5) * scale / downsample).astype(np.int64)
        return np.where(at < limit, at, -1)

    rows = index(panel.size.height, panel.scale[1], truth.downsample[1], truth.mask.shape[0])
    cols = index(panel.size.width, panel.scale[0], truth.downsample[0], truth.mask.shape[1])
    inside = truth.mask[np.ix_(rows, cols)]
    known = (rows >= 0)[:, None] & (cols >= 0)[None, :]
    return np.asarray(inside & known, np.bool_)


def count_words(count: int, thing: str) -> str:
    """Write a count with its thing: ``1 patch``, ``2,000 patches``."""
    plural = f"{thing}es" if thing.endswith("ch") else f"{thing}s"
    return f"{count:,} {thing if count == 1 else plural}"


def legend_axes(sheet: Sheet, rows: Sequence[str]) -> Axes:
    """Return empty axes beside picture 1, tall enough for these rows."""
    x, y, _ = sheet.legend_box()
    axes = sheet.axes(x, y, LEGEND - 30, 24 * len(rows))
    axes.set_xlim(0, LEGEND - 30)
    axes.set_ylim(24 * len(rows), 0)
    axes.set_axis_off()
    return axes
