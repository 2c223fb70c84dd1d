"""What several runs say of one slide, as the page's script reads it."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.viewer.cells import cells_of
from wsikit.types import Box, ScoreScale, Size

BARE = 65535
"""A cell without a score; the others hold 0..65534 for 0..1."""


@dataclass(frozen=True)
class Layer:
    """The scores of one run.

    Attributes:
        name: the run, as the reader sees it.
        scores: its patches; N may be 0.
        window_l0: width and height of what is shown of each, level-0 px, where that is more than
            what is scored: the patch around a square of a finer stride.
    """

    name: str
    scores: PatchScores
    window_l0: Size | None = None

    @property
    def window(self) -> Size:
        """Width and height of what is shown of a patch, level-0 px."""
        return self.window_l0 or self.scores.side_l0

    @property
    def margin(self) -> tuple[int, int]:
        """How far what is shown reaches beyond what is scored, to the left and up, level-0 px."""
        side = self.scores.side_l0
        return (self.window.width - side.width) // 2, (self.window.height - side.height) // 2

    def box(self, index: int) -> Box:
        """Return what is shown of a patch, in the level-0 frame."""
        x, y = self.scores.xy_l0[index].tolist()
        return Box(x - self.margin[0], y - self.margin[1], *self.window)


def patch_name(box: Box) -> str:
    """Name a patch's file by its place: `patches/<x>_<y>_<width>x<height>.jpg`, level-0 px."""
    x, y, width, height = (int(number) for number in box)
    return f"patches/{x}_{y}_{width}x{height}.jpg"


def describe(layer: Layer, kept: Collection[str]) -> dict[str, Any]:
    """Return a layer as JSON; arrays are base64 of little-endian numbers.

    Args:
        layer: the scores.
        kept: names of the patches that lie beside the page at full size.
    """
    scores = layer.scores
    has_file = [patch_name(layer.box(n)) in kept for n in range(len(scores.values))]
    return {
        "name": layer.name,
        "meaning": scores.meaning,
        "kind": scores.kind,
        "unit": [scores.unit, scores.units],
        "side": list(scores.side_l0),
        "window": list(layer.window),
        "margin": list(layer.margin),
        "x": pack(scores.xy_l0[:, 0], "<i4"),
        "y": pack(scores.xy_l0[:, 1], "<i4"),
        "value": pack(scores.values, "<f4"),
        "percentile": pack(scores.percentile, "<f4"),
        "rank": pack(scores.rank, "<i4"),
        "kept": pack(np.array(has_file, bool), "u1"),
        "views": [_view(view) for view in _views(scores)],
    }


def pack(values: NDArray[Any], kind: str) -> str:
    """Return an array as base64 of numbers of a kind ("<f4")."""
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def choose_patches(layers: Sequence[Layer], most: int) -> list[Box]:
    """Choose which patches to keep at full size: of every five, four high ones and a low one.

    The runs take turns, so each one's highest patches are among them.

    Args:
        layers: the runs.
        most: how many patches over all runs.

    Returns:
        Their boxes, the first chosen first.
    """
    orders = [_high_and_low(layer.scores.values) for layer in layers]
    chosen: dict[Box, None] = {}
    for turn in range(max((len(order) for order in orders), default=0)):
        for layer, order in zip(layers, orders, strict=True):
            if len(chosen) >= most:
                return list(chosen)
            if turn < len(order):
                chosen[layer.box(order[turn])] = None
    return list(chosen)


def _high_and_low(values: NDArray[np.floating]) -> list[int]:
    """Order patches: four from the top, one from the foot, and so on until they meet."""
    order: list[int] = np.argsort(-values, kind="stable").tolist()
    low = len(order) // 5
    high, foot = order[: len(order) - low], order[len(order) - low :][::-1]
    mixed = []
    for turn in range(len(high)):
        mixed.append(high[turn])
        if turn % 4 == 3 and turn // 4 < low:
            mixed.append(foot[turn // 4])
    return mixed + foot[len(high) // 4 :]


def _views(scores: PatchScores) -> list[PatchScores]:
    """Return the ways to colour the patches: the one asked for, then the other."""
    other: ScoreScale = "raw" if scores.by_percentile else "percentile"
    return [scores, replace(scores, scale=other)]


def _view(scores: PatchScores) -> dict[str, Any]:
    cells = cells_of(scores.xy_l0, scores.side_l0, scores.shown)
    bare = np.isnan(cells.values)
    steps = np.where(bare, BARE, np.rint(np.nan_to_num(cells.values) * (BARE - 1)))
    raw = "share" if scores.kind == "attention" else "value"
    return {
        "kind": "percentile" if scores.by_percentile else raw,
        "words": scores.shown_meaning,
        "start": list(cells.start_l0),
        "step": list(cells.step_l0),
        "shape": list(cells.values.shape),
        "cells": pack(steps, "<u2"),
    }
