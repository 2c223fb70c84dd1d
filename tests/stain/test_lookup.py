"""The compiled loops against numpy, on every layout of memory a patch may have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wsikit.stain.lookup import (
    apply_table,
    apply_table_counting,
    count_values,
    count_where,
    select_pixels,
)

RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 256, (67, 83, 3), dtype=np.uint8)
TABLE = RNG.integers(0, 256, (3, 256), dtype=np.uint8)


def frozen(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image.flags.writeable = False
    return image


LAYOUTS: dict[str, Callable[[], np.ndarray]] = {
    "contiguous": lambda: WHOLE,
    "cut out": lambda: WHOLE[5:42, 7:60],
    "flipped": lambda: WHOLE[::-1, ::-1],
    "channels first in memory": lambda: np.ascontiguousarray(WHOLE.transpose(2, 0, 1)).transpose(
        1, 2, 0
    ),
    "read only": lambda: frozen(WHOLE),
    "one pixel": lambda: WHOLE[:1, :1],
    "glass": lambda: np.full((64, 64, 3), 243, np.uint8),
    "nothing": lambda: WHOLE[:0],
}


def counts_of(pixels: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(3)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tables_and_counts_are_numpys(layout: str) -> None:
    image = LAYOUTS[layout]()
    before = image.copy()
    expected = np.stack([TABLE[c][image[..., c]] for c in range(3)], axis=-1)
    out, counts = apply_table_counting(image, TABLE)
    np.testing.assert_array_equal(apply_table(image, TABLE), expected)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(counts, counts_of(image))
    np.testing.assert_array_equal(count_values(image), counts_of(image))
    np.testing.assert_array_equal(image, before)
    assert out.dtype == np.uint8
    assert counts.dtype == np.int64


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_under_a_mask_are_numpys(layout: str) -> None:
    image = LAYOUTS[layout]()
    mask = np.random.default_rng(1).random(image.shape[:2]) < 0.3
    np.testing.assert_array_equal(select_pixels(image, mask), image[mask])
    np.testing.assert_array_equal(count_where(image, mask), counts_of(image[mask]))
