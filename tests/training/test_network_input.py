"""Stored pictures as networks see them: RGB untouched, grey at full depth, any shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from wsikit.stages.ingest.collection import Collection
from wsikit.stages.ingest.picture_slide import write_collection
from wsikit.store.store import Store
from wsikit.training.patches.network_input import network_input
from wsikit.training.patches.reader import PatchReader
from wsikit.training.patches.slide_queue import SlideQueue, SlideReading
from wsikit.training.patches.turns import TURNS, turned
from wsikit.types import Size

SIZE = Size(13, 9)


def picture(number: int, grey: bool) -> np.ndarray:
    rng = np.random.default_rng(number)
    if grey:
        return rng.integers(0, 4096, (SIZE.height, SIZE.width, 1), dtype=np.uint16)
    return rng.integers(0, 256, (SIZE.height, SIZE.width, 3), dtype=np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store", {"size": 13})
    for slide_id, grey in (("grey", True), ("rgb", False)):
        pictures = Collection(
            SIZE, [{} for _ in range(5)], lambda n, grey=grey: picture(n, grey), grey,
            4095 if grey else 255,
        )  # fmt: skip
        write_collection(store, slide_id, pictures, {"size": 13}, ("zstd", 90, "420"), print)
    return store


def test_every_grey_level_stays_apart_and_white_is_255() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    shown = network_input(levels, 65535)
    assert shown.shape == (256, 256, 3)
    assert shown.dtype == np.float32
    assert len(np.unique(shown)) == 65536
    assert (shown.min(), shown.max()) == (0, 255)
    assert (shown[..., 0] == shown[..., 2]).all()


def test_rgb_is_passed_as_it_is() -> None:
    pixels = picture(0, False)
    assert network_input(pixels, 255) is pixels


def test_batches_hold_one_slide_of_its_own_shape_and_type(store: Store) -> None:
    queue = SlideQueue()
    for slide_id in ("grey", "rgb", "grey"):
        queue.put(SlideReading(slide_id))
    queue.close()
    with PatchReader(store, 2) as reader:
        seen = []
        for batch in reader.batches(queue, 4, 1):
            pixels = batch.pixels()
            assert batch.slide is not None
            grey = batch.slide.is_grey
            assert pixels.dtype == (torch.float32 if grey else torch.uint8)
            for place, number in enumerate(range(batch.start, batch.stop)):
                wanted = network_input(picture(number, grey), 4095).transpose(2, 0, 1)
                np.testing.assert_array_equal(pixels[place].numpy(), wanted)
            seen.append(len(pixels))
            batch.release()
    assert seen == [4, 1, 4, 1, 4, 1]


def test_an_encoder_sees_white_grey_as_white_rgb() -> None:
    from wsikit.encoders.encoder import build_encoder

    encoder = build_encoder("resnet18", "random")
    grey = network_input(np.full((32, 40, 1), 4095, np.uint16), 4095)
    shown = torch.from_numpy(grey).permute(2, 0, 1)[None]
    white = torch.full((1, 3, 32, 40), 255, dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(shown), encoder(white))


def test_oblong_pictures_keep_their_shape_in_four_ways() -> None:
    pixels = picture(1, False)
    ways = {turned(pixels, turn).tobytes() for turn in range(TURNS)}
    assert all(turned(pixels, turn).shape == pixels.shape for turn in range(TURNS))
    assert len(ways) == 4
