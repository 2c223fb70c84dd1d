"""Versions: the same are silent, another wsikit is refused, the rest is one line."""

from __future__ import annotations

import pytest

from wsikit.errors import UsageError
from wsikit.execution.versions import PACKAGES, check_versions

HERE = {"python": "3.11.7", **dict.fromkeys(PACKAGES, "1.0")}


def test_the_same_versions_are_silent() -> None:
    assert check_versions(HERE, {"tcp://a": HERE, "the scheduler": HERE}) == ""


def test_what_differs_is_one_line_however_many_workers() -> None:
    other = {**HERE, "numpy": "2.0", "zarr": None}
    line = check_versions(HERE, {"tcp://a": other, "tcp://b": HERE, "tcp://c": other})
    assert line == (
        "warning: versions differ, so results may: numpy 2.0 (here 1.0), zarr none (here 1.0)"
        " on tcp://a and 1 more"
    )


def test_another_wsikit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"tcp://a has wsikit 0\.9, and this is wsikit 1\.0"):
        check_versions(HERE, {"tcp://a": {**HERE, "wsikit": "0.9"}})
