"""Filters combined, against the rule written out for one patch at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from wsikit.config import TileConfig, load_config
from wsikit.stages.tiling.judge import judge
from wsikit.store.decisions import REASONS


def config(filters: tuple[str, ...], combine: str) -> TileConfig:
    names = ",".join(filters)
    return load_config(
        None, [f"tile.filters=[{names}]", f"tile.combine={combine}", "tile.min_foreground=0.25"]
    ).tile


def plainly(settings: TileConfig, tissue: float, rgb: float, entropy: float) -> tuple[float, str]:
    """One patch, by the words of the documentation."""
    passes = {"tissue": tissue >= 0.25, "rgb": rgb >= 0.25, "entropy": entropy >= 15}
    asked = list(settings.filters)
    shares = [{"tissue": tissue, "rgb": rgb}[f] for f in asked if f != "entropy"] or [tissue]
    every = settings.combine == "and"
    share = min(shares) if every else max(shares)
    kept = not asked or (all if every else any)(passes[f] for f in asked)
    return share, "kept" if kept else next(f for f in asked if not passes[f])


FILTERS = [
    chosen
    for count in range(4)
    for chosen in itertools.permutations(("tissue", "rgb", "entropy"), count)
]


@pytest.mark.parametrize("combine", ["and", "or"])
@pytest.mark.parametrize("filters", FILTERS, ids=lambda f: "-".join(f) or "none")
def test_it_is_the_rule_in_words(filters: tuple[str, ...], combine: str) -> None:
    settings = config(filters, combine)
    values = list(itertools.product((0.0, 0.24, 0.25, 1.0), (0.1, 0.25, 0.6), (14.9, 15.0)))
    tissue, rgb, entropy = (np.array(column, np.float32) for column in zip(*values, strict=True))
    shares = {"tissue": tissue, "rgb": rgb}
    foreground, reason = judge(settings, shares, entropy)
    for i, patch in enumerate(values):
        share, wanted = plainly(settings, *patch)
        assert foreground[i] == np.float32(share)
        assert REASONS[reason[i]] == wanted


def test_what_is_not_known_yet_passes() -> None:
    tissue = {"tissue": np.array([0.0, 1.0], np.float32)}
    _, reason = judge(config(("tissue", "entropy"), "and"), tissue)
    assert [REASONS[r] for r in reason] == ["tissue", "kept"]
    _, reason = judge(config(("tissue", "entropy"), "or"), tissue)
    assert [REASONS[r] for r in reason] == ["kept", "kept"]


def test_without_a_least_share_some_tissue_is_needed_all_the_same() -> None:
    settings = config(("tissue",), "and").model_copy(update={"min_foreground": 0.0})
    _, reason = judge(settings, {"tissue": np.array([0.0, 0.001], np.float32)})
    assert [REASONS[r] for r in reason] == ["tissue", "kept"]
