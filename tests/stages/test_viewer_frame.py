"""Where QuPath counts from, held against what its OpenSlide reader does with the properties."""

from __future__ import annotations

import pytest

from wsikit.slides.properties import safe_properties
from wsikit.stages.viewer_frame import viewer_corner

BOUNDS = {"bounds-x": "32752", "bounds-y": "109084", "bounds-width": "31246", "bounds-height": "9"}


def test_the_corner_of_the_scanned_bounds() -> None:
    properties = safe_properties({"vendor": "mirax", **BOUNDS}, [])
    assert viewer_corner(properties, "qupath") == (32752, 109084)
    assert viewer_corner(properties, "slide") == (0, 0)


@pytest.mark.parametrize("missing", list(BOUNDS))
def test_all_four_must_be_there(missing: str) -> None:
    properties = {key: value for key, value in BOUNDS.items() if key != missing}
    assert viewer_corner(safe_properties(properties, []), "qupath") == (0, 0)


def test_what_is_no_whole_number_is_no_bound() -> None:
    """QuPath parses whole numbers, and takes the whole slide where that fails."""
    properties = safe_properties({**BOUNDS, "bounds-width": "12.5"}, [])
    assert viewer_corner(properties, "qupath") == (0, 0)
    assert viewer_corner({}, "qupath") == (0, 0)
