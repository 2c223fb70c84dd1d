"""The list of a slide's patches, as a table and in samples."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from wsikit.errors import StoreError, UsageError
from wsikit.geometry import PatchGrid
from wsikit.stages.inspection.patch_list import COLUMNS, PatchList, list_patches
from wsikit.store.decisions import REASONS, Decisions
from wsikit.store.store import Store
from wsikit.types import Size

GRID = PatchGrid(Size(1000, 700), (1.5, 2.0), 64)  # 6 rows, 11 columns


def patch_list() -> PatchList:
    rng = np.random.default_rng(0)
    shape = (GRID.rows, GRID.cols)
    foreground = rng.random(shape, np.float32)
    entropy = np.where(foreground > 0.5, 24 * rng.random(shape, np.float32), np.float32(np.nan))
    reason = rng.choice([0, 1, 1, 1, 3], shape).astype(np.uint8)
    reason[2, 5] = REASONS.index("damaged")
    return PatchList("s", GRID, Decisions(foreground, entropy, reason))


def test_every_patch_is_listed_once_with_its_place(tmp_path: Path) -> None:
    found = patch_list()
    rows = list(found.rows())
    assert len(rows) == len(found) == GRID.rows * GRID.cols
    for row, col, x, y, foreground, entropy, reason in rows:
        assert (x, y) == GRID.origin_l0(row, col)
        assert foreground == pytest.approx(found.decisions.foreground[row, col], abs=1e-5)
        held = found.decisions.entropy[row, col]
        assert entropy is None if np.isnan(held) else entropy == pytest.approx(held, abs=1e-4)
        assert reason == REASONS[found.decisions.reason[row, col]]
    assert [row[:2] for row in rows] == list(np.ndindex(GRID.rows, GRID.cols))


def test_csv_and_json_hold_the_same(tmp_path: Path) -> None:
    found = patch_list()
    found.write_csv(tmp_path / "p.csv")
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    for row, entry in zip(rows, document["patches"], strict=True):
        assert {key: "" if value is None else str(value) for key, value in entry.items()} == row
    assert b"\r" not in (tmp_path / "p.csv").read_bytes()
    assert sum(document["counts"].values()) == len(rows)
    assert document["side_l0"] == [96, 128]


def test_a_sample_shows_every_reason_and_never_more_than_asked() -> None:
    found = patch_list()
    reason = found.decisions.reason.ravel()
    for most in (7, 20, 48):
        chosen = found.sample(most)
        assert len(chosen) == most
        assert chosen == sorted(set(chosen))
        assert set(reason[chosen]) == set(reason)
    assert found.sample(1000) == list(range(len(found)))


def test_the_slide_must_be_clear(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a store"):
        list_patches(tmp_path)
    store = Store.create(tmp_path / "store", {})
    with pytest.raises(UsageError, match="no slide is tiled yet"):
        list_patches(store.path)
    for name in ("a1", "a2"):
        store.slide_path(name).mkdir()
    with pytest.raises(UsageError, match="2 slides: name one: --slide a1"):
        list_patches(store.path)
    with pytest.raises(UsageError, match="'a3' is not in it: use one of: a1, a2"):
        list_patches(store.path, "a3")
    with pytest.raises(StoreError, match="cannot be read"):
        list_patches(store.path, "a1")
