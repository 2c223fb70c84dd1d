"""Read a slide's patch scores as `wsikit predict` wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet

from wsikit.errors import StoreError
from wsikit.heatmap.scores import PatchScores
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import ScoreScale, Size

OTHER_PATCHES = "its patches were tiled again since it was predicted"


def read_patches(path: Path, rows: int | None = None) -> pd.DataFrame:
    """Read `patches/<slide_id>.parquet`: x, y, width, height (level-0 px), score, attention, ...

    Args:
        path: the table.
        rows: how many it must have, seen before any is read; None: as many as there are.

    Raises:
        StoreError: absent, not such a table, or of another number of rows.
    """
    try:
        if rows is not None and pyarrow.parquet.read_metadata(path).num_rows != rows:
            raise StoreError(OTHER_PATCHES, "run wsikit predict again")
        table = pd.read_parquet(path)
        table[["x", "y", "width", "height", "score"]].to_numpy(np.float64)
    except FileNotFoundError:
        fix = "run wsikit predict first; or the run's method scores no patches"
        raise StoreError(f"{path}: not there", fix) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: no table of patch scores", "run wsikit predict again") from error
    return table


def patch_scores(
    table: pd.DataFrame, column: str, side_l0: Size, scale: ScoreScale = "auto"
) -> PatchScores:
    """Return one column of a patch table as scores with their meaning.

    Args:
        table: from `read_patches`.
        column: `score` (what the table says of it) or `attention`.
        side_l0: width and height of a patch in level-0 px, for a table without rows.
        scale: how they are shown.

    Raises:
        StoreError: the method has no such score.
        WsikitError: a score is not finite or out of range.
    """
    if column not in table:
        raise StoreError(f"the run's method gives no '{column}'", "set heatmap.score=score")
    attention = column == "attention" or table.attrs.get("kind") == "attention"
    meaning = "attention" if attention else str(table.attrs.get("score", "probability"))
    if len(table):
        side_l0 = Size(int(table["width"].iloc[0]), int(table["height"].iloc[0]))
    return PatchScores(
        xy_l0=table[["x", "y"]].to_numpy(np.int32),
        side_l0=side_l0,
        values=table[column].to_numpy(np.float32),
        meaning=meaning,
        kind="attention" if attention else "probability",
        scale=scale,
    )


def check_patches(table: pd.DataFrame, slide: StoredSlide) -> None:
    """See that a slide's scores are those of the patches that are stored now.

    Args:
        table: from `read_patches`. An older one does not say which patches it scores; its corners
            tell.
        slide: the stored slide.

    Raises:
        StoreError: the slide was tiled otherwise since it was predicted.
    """
    said = table.attrs.get("patches")
    corners = table[["x", "y"]].to_numpy()
    same = corners.shape == slide.patches.xy_l0.shape and (corners == slide.patches.xy_l0).all()
    if not same or (said is not None and said != slide.recipe_id):
        raise StoreError(OTHER_PATCHES, "run wsikit predict again")
    side = np.array(slide.grid.side_l0())
    if not (np.abs(table[["width", "height"]].to_numpy(np.float64) - side) <= 1).all():
        raise StoreError(
            f"its table says of patches of {side[0]} x {side[1]} level-0 px that they have others",
            "run wsikit predict again",
        )
