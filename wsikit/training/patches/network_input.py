"""Turn a stored patch into what networks are shown: three channels, 0 to 255."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.store.stored_slide import StoredSlide
from wsikit.types import PatchPixels

WHITE = 255


def network_input(pixels: PatchPixels, max_value: int) -> NDArray[Any]:
    """Repeat grey three times and bring it to the range of RGB, at its full depth.

    Args:
        pixels: (H, W, 3) uint8 RGB, or (H, W, 1) uint16 grey.
        max_value: what white is in grey, 1 or more; see `StoredSlide.max_value`.

    Returns:
        RGB as it is; of grey (H, W, 3) float32, 0..255, of which `Encoder` makes 0..1 as of RGB. No
        two of its grey levels fall together.
    """
    if pixels.dtype == np.uint8:
        return pixels
    grey = pixels.astype(np.float32) * np.float32(WHITE / max_value)
    return np.repeat(grey, 3, axis=2)


def input_dtype(slide: StoredSlide) -> np.dtype[Any]:
    """Return the type that `network_input` gives for a slide's patches: uint8 or float32.

    Raises:
        StoreError: the stored slide is damaged.
    """
    return np.dtype(np.float32 if slide.is_grey else np.uint8)


def read_network_input(slide: StoredSlide, index: int) -> NDArray[Any]:
    """Read a patch as networks are shown it.

    Raises:
        StoreError: the chunk is damaged, or the slide has no pixels.
    """
    return network_input(slide.read_patch(index), slide.max_value)
