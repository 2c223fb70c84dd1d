"""Decide which patches are kept, from what the filters measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wsikit.config import TileConfig
from wsikit.store.decisions import KEPT, REASONS
from wsikit.types import FloatArray

SOME = 1e-9
"""With `min_foreground` 0 a patch still needs some foreground, unless there is no filter."""


def judge(
    config: TileConfig, shares: Mapping[str, FloatArray], entropy: FloatArray | None = None
) -> tuple[FloatArray, NDArray[np.uint8]]:
    """Apply the configured filters to patches.

    A filter whose measure is not known yet passes everything.

    Args:
        config: the filters, how they are combined, and their cuts.
        shares: foreground share 0..1 by mask filter (`tissue`, `rgb`), arrays of one shape;
            `tissue` must be there.
        entropy: summed channel entropies in bits, of the same shape.

    Returns:
        The foreground share that counts (the least of the filters' shares where all must pass, the
        largest where one must; `tissue`'s where no mask filter is configured), and the reason
        (uint8, `KEPT` or the first filter that fails).
    """
    masks = [name for name in config.filters if name in shares] or ["tissue"]
    merged = np.minimum if config.combine == "and" else np.maximum
    foreground = merged.reduce([shares[name] for name in masks])
    reason = np.full(foreground.shape, KEPT, np.uint8)
    passed_any = np.zeros(foreground.shape, bool)
    for name in reversed(config.filters):
        passed = _passed(config, name, shares, entropy, foreground.shape)
        reason[~passed] = REASONS.index(name)
        passed_any |= passed
    if config.combine == "or":
        reason[passed_any] = KEPT
    return foreground, reason


def _passed(
    config: TileConfig,
    name: str,
    shares: Mapping[str, FloatArray],
    entropy: FloatArray | None,
    shape: tuple[int, ...],
) -> NDArray[np.bool_]:
    if name in shares:
        return np.asarray(shares[name] >= max(config.min_foreground, SOME))
    if name == "entropy" and entropy is not None:
        return np.asarray(entropy >= config.entropy.cut)
    return np.ones(shape, bool)
