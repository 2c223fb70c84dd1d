"""One slide with its scores and its pixels, as every file format is given it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wsikit.config import HeatmapConfig
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import TruthOutline
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Box, Mpp, UInt8Image


class Pixels(Protocol):
    """The slide's own pixels: an open `wsikit.slides.slide.Slide`, or what the store holds."""

    def read(self, region: Box, mpp: Mpp | None = None) -> UInt8Image:
        """Read a region; see `Slide.read`: level-0 box, wanted um per px, white outside."""


@dataclass(frozen=True)
class SlideHeatmap:
    """Hold all that a format needs to draw one slide.

    Attributes:
        stored: the slide in the store.
        scores: what is drawn.
        config: how it is drawn.
        truth: a known region to outline, where there is one.
        open_pixels: opens the slide's own pixels for the length of a `with` block; raises
            `WsikitError` in one line where there are none to be had.
    """

    stored: StoredSlide
    scores: PatchScores
    config: HeatmapConfig
    truth: TruthOutline | None
    open_pixels: Callable[[], AbstractContextManager[Pixels]]

    @property
    def slide_id(self) -> str:
        """Its id in the store."""
        return self.stored.slide_id


Write = Callable[[SlideHeatmap, Path], None]
"""Draw one slide into a folder. Files appear whole or not at all."""
