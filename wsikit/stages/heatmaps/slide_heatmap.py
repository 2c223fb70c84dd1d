"""One slide with its scores and its pixels, as every file format is given it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from wsikit.config import HeatmapConfig
from wsikit.heatmap.grad_cam_sheet import GradCamPicture
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import TruthOutline
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Box, Mpp, UInt8Image


class Pixels(Protocol):
    """The slide's own pixels, or what the store holds of them."""

    @property
    def mpp(self) -> Mpp:
        """Micrometres per pixel of the finest that can be read."""

    @property
    def origin(self) -> str:
        """Say in a few words where the pixels come from, for the reader of a file."""

    def read(self, region: Box, mpp: Mpp | None = None) -> UInt8Image:
        """Read a region, as `Slide.read` does.

        Args:
            region: a box in the slide's level-0 frame, whatever the pixels come from.
            mpp: wanted micrometres per pixel, not finer than `self.mpp`; None: the finest.

        Returns:
            (H, W, 3) uint8, white outside the slide.
        """

    def l0_per_px(self, mpp: Mpp) -> tuple[float, float]:
        """Return level-0 pixels per pixel, x and y, of what is read at `mpp`.

        A level within 2 % of `mpp` is read as it is, so its true resolution may differ from `mpp`.
        """


@dataclass(frozen=True)
class RunScores:
    """The scores that one run gives a slide.

    Attributes:
        name: the run's folder, as the reader sees it.
        scores: its patches.
    """

    name: str
    scores: PatchScores


def _silent(line: str) -> None:
    """Tell nobody."""


def _none() -> Iterable[GradCamPicture]:
    """Return no picture."""
    return ()


@dataclass(frozen=True)
class SlideHeatmap:
    """Hold all that a format needs to draw one slide.

    Attributes:
        stored: the slide in the store.
        scores: what is drawn: the first run's. A slide without tissue has none (N = 0); its files
            are written all the same, and say so.
        config: how it is drawn.
        truth: a known region to outline, where there is one.
        open_pixels: opens the slide's own pixels for the length of a `with` block; raises
            `WsikitError` in one line where there are none to be had.
        run: name of the first run.
        others: further runs' scores of the same slide, for formats that can switch between them.
        prediction: the slide's line of predictions.csv; empty where there is none.
        say: tells the user, in one line that names the slide, what a format had to leave out.
        grad_cams: shows its pictures to the run's network, one after the other.
    """

    stored: StoredSlide
    scores: PatchScores
    config: HeatmapConfig
    truth: TruthOutline | None
    open_pixels: Callable[[], AbstractContextManager[Pixels]]
    run: str = "run"
    others: tuple[RunScores, ...] = ()
    prediction: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = _silent
    grad_cams: Callable[[], Iterable[GradCamPicture]] = _none

    @property
    def slide_id(self) -> str:
        """Its id in the store."""
        return self.stored.slide_id


Write = Callable[[SlideHeatmap, Path], None]
"""Draw one slide into a folder. Files appear whole or not at all."""
