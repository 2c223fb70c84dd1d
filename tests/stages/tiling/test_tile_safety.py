"""What goes wrong in the middle of tiling costs as little as possible, and never looks finished."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsikit.config import TileConfig, load_config
from wsikit.execution.pool import SerialPool
from wsikit.execution.task import Task
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.held_slide import release_slide
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.decisions import REASONS
from wsikit.store.store import Store

DAMAGED = REASONS.index("damaged")


def config(*sets: str) -> TileConfig:
    plain = ["size=128", "stain.method=none", "codec.name=zstd"]
    return load_config(None, [f"tile.{s}" for s in [*plain, *sets]]).tile


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def patches(store: Path, slide_id: str) -> dict[tuple[int, int], bytes]:
    slide = Store(store).slide(slide_id)
    places = zip(slide.patches.row.tolist(), slide.patches.col.tolist(), strict=True)
    return {place: slide.read_patch(i).tobytes() for i, place in enumerate(places)}


def spoil(path: Path, tile: int) -> tuple[int, int, int]:
    """Overwrite the start of one level-0 tile; return its left, top and side in px."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offset, side = page.dataoffsets[tile], page.tilewidth
        across = -(-page.imagewidth // side)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\x00" * 64)
    return tile % across * side, tile // across * side, side


def tile_in_tissue(store: Path, slide_id: str, path: Path) -> int:
    """Return a level-0 tile that lies wholly in kept patches."""
    index = Store(store).slide(slide_id).patches
    with tifffile.TiffFile(path) as tiff:
        side, across = (
            tiff.pages[0].tilewidth,
            -(-tiff.pages[0].imagewidth // tiff.pages[0].tilewidth),
        )
    x, y = int(index.x[len(index) // 2]), int(index.y[len(index) // 2])
    return (y // side) * across + x // side


def test_a_corrupt_tile_costs_just_the_patches_on_it(phantom: Path, tmp_path: Path) -> None:
    run_tile(source_slides([phantom]), tmp_path / "good", config())
    bad = tmp_path / "ph.tiff"
    shutil.copyfile(phantom, bad)
    left, top, side = spoil(bad, tile_in_tissue(tmp_path / "good", "ph", bad))
    outcome = run_tile(source_slides([bad]), tmp_path / "bad", config())
    assert outcome.done == ["ph"]
    good, kept = patches(tmp_path / "good", "ph"), patches(tmp_path / "bad", "ph")
    slide = Store(tmp_path / "bad").slide("ph")
    sx, sy = (
        slide.grid.scale
    )  # the slide is not resampled along x, by 2 % less than allowed along y
    touched = {
        (row, col)
        for row, col in good
        if left < (col + 1) * 128 * sx and col * 128 * sx < left + side
        and top < (row + 1) * 128 * sy and row * 128 * sy < top + side
    }  # fmt: skip
    assert touched
    assert kept == {place: data for place, data in good.items() if place not in touched}
    lost = {(int(r), int(c)) for r, c in np.argwhere(slide.decisions.reason == DAMAGED)}
    assert lost >= touched
    assert Store(tmp_path / "bad").status("ph")["tile"].damaged == len(lost)


def test_strict_fails_a_slide_with_a_corrupt_tile(phantom: Path, tmp_path: Path) -> None:
    run_tile(source_slides([phantom]), tmp_path / "good", config())
    bad = tmp_path / "ph.tiff"
    shutil.copyfile(phantom, bad)
    spoil(bad, tile_in_tissue(tmp_path / "good", "ph", bad))
    sources, store = source_slides([bad]), tmp_path / "s"
    outcome = run_tile(sources, store, config(), strict=True)
    assert "of its patches cannot be decoded" in outcome.failed["ph"]
    assert Store(store).slide_ids() == []
    assert run_tile(sources, store, config()).done == ["ph"]
    assert "cannot be decoded" in run_tile(sources, store, config(), strict=True).failed["ph"]
    assert run_tile(sources, store, config()).failed == {}


def test_a_slide_that_is_mostly_damaged_fails(phantom: Path, tmp_path: Path) -> None:
    bad = tmp_path / "ph.tiff"
    shutil.copyfile(phantom, bad)
    with tifffile.TiffFile(bad) as tiff:
        count = len(tiff.pages[0].dataoffsets)
    for tile in range(count):
        if tile % 20:
            spoil(bad, tile)
    outcome = run_tile(source_slides([bad]), tmp_path / "s", config())
    assert "of its patches cannot be decoded" in outcome.failed["ph"]
    assert Store(tmp_path / "s").slide_ids() == []


class Sabotage(SerialPool):
    """A pool that runs something of the test's own before the n-th shard of a slide."""

    def __init__(self, slide_id: str, nth: int, deed: object) -> None:
        super().__init__()
        self.slide_id, self.left, self.deed = slide_id, nth, deed

    def next_done(self) -> Task:
        task = super().next_done()
        if task.key == ("shard", self.slide_id):
            self.left -= 1
            if self.left == 0:
                release_slide()
                self.deed()  # type: ignore[operator]
        return task


def test_a_slide_that_disappears_midway_fails_alone_and_continues_later(
    phantom: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        shutil.copyfile(phantom, tmp_path / f"{name}.tiff")
    sources = source_slides([tmp_path / "a.tiff", tmp_path / "b.tiff"])
    run_tile(sources, tmp_path / "whole", config("size=32"))
    away = tmp_path / "away"
    pool = Sabotage("a", 3, lambda: (tmp_path / "a.tiff").rename(away))
    outcome = run_tile(sources, tmp_path / "s", config("size=32"), pool=pool)
    assert (outcome.done, list(outcome.failed)) == (["b"], ["a"])
    assert "a.tiff" in outcome.failed["a"]
    assert Store(tmp_path / "s").slide_ids() == ["b"]
    away.rename(tmp_path / "a.tiff")
    written = list((tmp_path / "s" / ".staging" / "a.zarr" / "0" / "c" / "0").glob("*/*"))
    stamps = {p.relative_to(tmp_path / "s" / ".staging"): p.stat().st_mtime_ns for p in written}
    assert stamps
    assert run_tile(sources, tmp_path / "s", config("size=32")).done == ["a"]
    for name, stamp in stamps.items():  # what was done is not done again
        assert (tmp_path / "s" / "slides" / name).stat().st_mtime_ns == stamp
    assert tree(tmp_path / "s" / "slides") == tree(tmp_path / "whole" / "slides")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    phantom: Path, tmp_path: Path, tiny_disk: Path
) -> None:
    sources = source_slides([phantom])
    run_tile(sources, tmp_path / "whole", config())
    outcome = run_tile(sources, tiny_disk / "s", config())
    assert "No space left" in outcome.failed["ph"] or "disk is full" in outcome.failed["ph"]
    assert "\n" not in outcome.failed["ph"]
    assert not list((tiny_disk / "s" / "slides").iterdir())
    subprocess.run(["mount", "-o", "remount,size=200m", str(tiny_disk)], check=True)
    assert run_tile(sources, tiny_disk / "s", config()).done == ["ph"]
    assert tree(tiny_disk / "s" / "slides") == tree(tmp_path / "whole" / "slides")
