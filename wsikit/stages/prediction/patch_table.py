"""Read a slide's patch scores as `wsikit predict` wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from wsikit.errors import StoreError
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Size


def read_patches(path: Path) -> pd.DataFrame:
    """Read `patches/<slide_id>.parquet`: x, y, width, height (level-0 px), score, attention, ...

    Raises:
        StoreError: absent or not such a table.
    """
    try:
        table = pd.read_parquet(path)
        table[["x", "y", "width", "height", "score"]]
    except FileNotFoundError:
        fix = "run wsikit predict first; or the run's method scores no patches"
        raise StoreError(f"{path}: not there", fix) from None
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path}: no table of patch scores", "run wsikit predict again") from error
    return table


def patch_scores(table: pd.DataFrame, column: str) -> PatchScores:
    """Return one column of a patch table as scores with their meaning.

    Args:
        table: from `read_patches`, with at least one row.
        column: `score` (what the table says of it) or `attention`.

    Raises:
        StoreError: the method has no such score.
    """
    if column not in table:
        raise StoreError(f"the run's method gives no '{column}'", "set heatmap.score=score")
    attention = column == "attention" or table.attrs.get("kind") == "attention"
    meaning = "attention" if attention else str(table.attrs.get("score", "probability"))
    return PatchScores(
        xy_l0=table[["x", "y"]].to_numpy(np.int32),
        side_l0=Size(int(table["width"].iloc[0]), int(table["height"].iloc[0])),
        values=table[column].to_numpy(np.float32),
        meaning=meaning,
        kind="attention" if attention else "probability",
    )
