"""What became of each patch of one stored slide, as a list: for `wsikit inspect --patches`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.atomic import whole_file
from wsikit.errors import UsageError, nearest
from wsikit.geometry import PatchGrid
from wsikit.store.decisions import REASONS, Decisions
from wsikit.store.store import Store

COLUMNS = ("row", "col", "x", "y", "foreground", "entropy", "reason")
"""x and y are a patch's corner in level-0 px; entropy is in bits; None: not computed."""


@dataclass(frozen=True)
class PatchList:
    """The patches of a slide's whole grid, row by row.

    Attributes:
        slide_id: the slide.
        grid: its patch grid.
        decisions: what became of each patch.
    """

    slide_id: str
    grid: PatchGrid
    decisions: Decisions

    def __len__(self) -> int:
        return self.decisions.reason.size

    def rows(self, numbers: Sequence[int] | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield patches as tuples in the order of `COLUMNS`.

        Args:
            numbers: which ones, counted row by row from 0; default all.
        """
        foreground, entropy = (
            values.ravel() for values in (self.decisions.foreground, self.decisions.entropy)
        )
        reason = self.decisions.reason.ravel()
        for number in range(len(self)) if numbers is None else numbers:
            place = divmod(number, self.grid.cols)
            measured = (_number(foreground[number]), _number(entropy[number]))
            yield (*place, *self.grid.origin_l0(*place), *measured, REASONS[reason[number]])

    def sample(self, most: int) -> list[int]:
        """Choose patches that show every reason, for where all of them are too many.

        Args:
            most: how many at most; all are chosen if there are no more.

        Returns:
            Their numbers, rising: evenly spread over the patches of each reason, the reasons
            taking equal parts as far as they have so many.
        """
        reason = self.decisions.reason.ravel()
        if len(reason) <= most:
            return list(range(len(reason)))
        groups = [np.flatnonzero(reason == code) for code in range(len(REASONS))]
        chosen: list[int] = []
        left = most
        present = sorted((group for group in groups if len(group)), key=len)
        for position, group in enumerate(present):
            part = min(len(group), left // (len(present) - position))
            chosen += _spread(group, part)
            left -= part
        return sorted(chosen)

    def as_json(self) -> dict[str, Any]:
        """Return the list as one JSON document."""
        return {
            "kind": "patches",
            "slide": self.slide_id,
            "grid": [self.grid.rows, self.grid.cols],
            "patch_px": self.grid.patch_px,
            "side_l0": list(self.grid.side_l0()),
            "counts": self.decisions.counts(),
            "patches": [dict(zip(COLUMNS, row, strict=True)) for row in self.rows()],
        }

    def write_csv(self, path: Path) -> None:
        """Write the list as CSV, a field empty where a number was not computed.

        Raises:
            UsageError: the file cannot be written.
        """
        with whole_file(path) as temporary, temporary.open("w", newline="", encoding="ascii") as to:
            writer = csv.writer(to, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(self.rows())


def list_patches(path: Path, slide_id: str | None = None) -> PatchList:
    """Read what became of the patches of one stored slide.

    Args:
        path: a store.
        slide_id: which slide; may be left out where the store has one only.

    Raises:
        UsageError: the path is no store, or the slide is not named or not there.
        StoreError: the slide is damaged.
    """
    if not (path / "wsikit.json").exists():
        raise UsageError(f"{path}: not a store, so it has no patches", "name a store")
    store = Store(path)
    stored = store.slide(_chosen(store, slide_id))
    decisions = stored.decisions
    if not stored.has_pixels:  # ingested: what is stored as foreground, nobody measured
        decisions = replace(decisions, foreground=np.full_like(decisions.foreground, np.nan))
    return PatchList(stored.slide_id, stored.grid, decisions)


def _chosen(store: Store, slide_id: str | None) -> str:
    ids = store.slide_ids()
    if not ids:
        raise UsageError(f"{store.path}: no slide is tiled yet", "run wsikit tile first")
    if slide_id is None:
        if len(ids) > 1:
            raise UsageError(f"{store.path}: {len(ids)} slides", f"name one: --slide {ids[0]}")
        return ids[0]
    if slide_id not in ids:
        raise UsageError(f"{store.path}: slide '{slide_id}' is not in it", nearest(slide_id, ids))
    return slide_id


def _number(value: np.float32) -> float | None:
    """Return a number as it is read and compared, or None where there is none."""
    return None if np.isnan(value) else round(float(value), 5)


def _spread(group: NDArray[np.int64], count: int) -> list[int]:
    places = np.floor((np.arange(count) + 0.5) * len(group) / max(1, count)).astype(np.int64)
    return [int(number) for number in group[places]]
