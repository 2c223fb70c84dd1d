"""Reading ahead: right patches, right order, across slide borders, in bounded memory."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.stages.extracting import add_empty_slide, cut_shards, make_store
from wsikit.errors import StoreError
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.patches.reader import PatchReader
from wsikit.training.patches.slide_queue import SlideQueue, SlideReading
from wsikit.types import Size

SIZES = {"a": Size(900, 700), "b": Size(500, 400), "c": Size(700, 900)}


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("tiled"), SIZES)


def queue_of(*slide_ids: str, closed: bool = True) -> tuple[SlideQueue, list[SlideReading]]:
    queue, readings = SlideQueue(), [SlideReading(i) for i in slide_ids]
    for reading in readings:
        queue.put(reading)
    if closed:
        queue.close()
    return queue, readings


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ahead", [0, 4])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_every_patch_comes_once_in_its_place(
    tiled: Path, threads: int, ahead: int, size: int
) -> None:
    store = Store(tiled)
    found: dict[str, list[np.ndarray]] = {}
    with PatchReader(store, threads) as reader:
        for batch in reader.batches(queue_of("c", "a", "b")[0], size, ahead):
            pixels = batch.pixels()
            assert pixels.shape == (batch.stop - batch.start, 3, 64, 64)
            assert pixels.is_contiguous(memory_format=torch.channels_last)
            parts = found.setdefault(batch.reading.slide_id, [])
            assert sum(map(len, parts)) == batch.start
            parts.append(pixels.permute(0, 2, 3, 1).numpy().copy())
            last = batch.is_last
            batch.release()
            slide = store.slide(batch.reading.slide_id)
            assert last == (batch.stop == len(slide.patches))
    assert list(found) == ["c", "a", "b"]
    for slide_id, parts in found.items():
        slide = store.slide(slide_id)
        wanted = np.stack([slide.read_patch(i) for i in range(len(slide.patches))])
        np.testing.assert_array_equal(np.concatenate(parts), wanted)


def test_the_next_slide_is_read_before_this_one_is_done_with(
    tiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = {slide_id: threading.Event() for slide_id in SIZES}
    genuine = StoredSlide.read_patch

    def noted(slide: StoredSlide, index: int) -> np.ndarray:
        began[slide.slide_id].set()
        return genuine(slide, index)

    monkeypatch.setattr(StoredSlide, "read_patch", noted)
    with PatchReader(Store(tiled), 2) as reader:
        batch = next(reader.batches(queue_of("a", "b")[0], 1000, ahead=1))
        batch.pixels()
        assert batch.is_last
        # All of the first slide is in one batch, still held, and nothing more was asked for.
        assert began["b"].wait(timeout=30)


def test_memory_is_used_again(tiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    genuine = torch.empty

    def counted(*args: object, **how: object) -> torch.Tensor:
        made.append(args)
        return genuine(*args, **how)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(torch, "empty", counted)
    batches = 0
    with PatchReader(Store(tiled), 2) as reader:
        for batch in reader.batches(queue_of("a", "b", "c")[0], 4, ahead=2):
            batch.pixels()
            batch.release()
            batches += 1
    assert batches > 12
    assert 1 <= len(made) <= 4


def test_a_damaged_slide_spoils_no_other(tiled: Path, tmp_path: Path) -> None:
    shutil.copytree(tiled, tmp_path / "s")
    cut_shards(tmp_path / "s", "a")
    good, said = [], {}
    with PatchReader(Store(tmp_path / "s"), 2) as reader:
        for batch in reader.batches(queue_of("a", "gone", "b")[0], 16, ahead=2):
            try:
                batch.pixels()
                good.append(batch.reading.slide_id)
            except StoreError as error:
                said[batch.reading.slide_id] = str(error)
                batch.reading.abandoned = True
            batch.release()
    assert set(good) == {"b"}
    assert all(slide_id in reason for slide_id, reason in said.items())
    assert set(said) == {"a", "gone"}


def test_an_abandoned_slide_is_not_read_on(tiled: Path) -> None:
    queue, readings = queue_of("a", "b")
    count = 0
    with PatchReader(Store(tiled), 1) as reader:
        for batch in reader.batches(queue, 1, ahead=3):
            count += batch.reading.slide_id == "a"
            readings[0].abandoned = True
            batch.release()
    assert count <= 5  # what was under way already
    assert len(Store(tiled).slide("a").patches) > 10


def test_a_slide_without_patches_is_one_empty_batch(tiled: Path, tmp_path: Path) -> None:
    shutil.copytree(tiled, tmp_path / "s")
    add_empty_slide(tmp_path / "s", tmp_path)
    with PatchReader(Store(tmp_path / "s"), 1) as reader:
        (batch,) = reader.batches(queue_of("glass")[0], 4, ahead=2)
        assert batch.pixels().shape == (0, 3, 64, 64)
        assert batch.is_last


def test_callers_share_the_slides(tiled: Path) -> None:
    queue, _ = queue_of("a", "b", "c")
    found: list[list[str]] = [[], []]
    with PatchReader(Store(tiled), 2) as reader:

        def take(mine: list[str]) -> None:
            for batch in reader.batches(queue, 8, ahead=1):
                batch.pixels()
                batch.release()
                if batch.is_last:
                    mine.append(batch.reading.slide_id)

        threads = [threading.Thread(target=take, args=(mine,)) for mine in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert sorted(found[0] + found[1]) == ["a", "b", "c"]


def test_batches_wait_for_slides_that_are_still_to_come(tiled: Path) -> None:
    queue, _ = queue_of("a", closed=False)
    seen = []
    with PatchReader(Store(tiled), 1) as reader:
        for batch in reader.batches(queue, 1000, ahead=3):
            batch.pixels()
            batch.release()
            seen.append(batch.reading.slide_id)
            if seen == ["a"]:  # handed out although nobody knows yet what follows
                queue.put(SlideReading("b"))
                queue.close()
    assert seen == ["a", "b"]


def test_a_queue_that_is_closed_stays_so() -> None:
    queue, readings = queue_of("a", "b")
    assert [queue.take() for _ in range(4)] == [*readings, None, None]


def test_leaving_early_ends_everything(tiled: Path) -> None:
    """Nobody says that no slide follows, and batches are left untouched."""
    before = threading.active_count()
    queue, _ = queue_of("a", "b", closed=False)
    with PatchReader(Store(tiled), 2) as reader:
        next(reader.batches(queue, 4, ahead=2)).pixels()
        next(reader.batches(queue, 4, ahead=0)).pixels()
    assert threading.active_count() == before
