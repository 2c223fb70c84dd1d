from __future__ import annotations

import numpy as np
import pytest

from wsikit.store.decisions import KEPT, REASONS, Decisions


def decisions(reason: list[list[int]]) -> Decisions:
    codes = np.array(reason, np.uint8)
    return Decisions(np.zeros(codes.shape, np.float32), np.zeros(codes.shape, np.float32), codes)


def test_every_reason_is_counted_in_order() -> None:
    counts = decisions([[0, 1, 1], [5, 6, 0]]).counts()
    assert tuple(counts) == REASONS
    assert counts == {"kept": 2, "tissue": 2, "rgb": 0, "entropy": 0, "blur": 0, "region": 1,
                      "damaged": 1}  # fmt: skip
    assert sum(counts.values()) == 6
    assert REASONS[KEPT] == "kept"


def test_codes_are_part_of_the_store_and_never_move() -> None:
    assert REASONS == ("kept", "tissue", "rgb", "entropy", "blur", "region", "damaged")


def test_what_does_not_belong_together_is_refused() -> None:
    shares, codes = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="not one"):
        Decisions(shares, shares[:1], codes)
    with pytest.raises(ValueError, match="not one"):
        Decisions(shares.ravel(), shares.ravel(), codes.ravel())
    with pytest.raises(ValueError, match="reason 7 has no meaning"):
        decisions([[0, 7]])
