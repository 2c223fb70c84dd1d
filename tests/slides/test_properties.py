from __future__ import annotations

import pytest

from wsikit.slides.properties import finite_number, safe_properties
from wsikit.slides.slide import pyramid
from wsikit.types import Size

LEVELS = pyramid([Size(1001, 463), Size(500, 231)], "a.svs")


def test_only_the_list_leaves():
    raw = {
        "vendor": "aperio",
        "mpp-x": "0.4990",
        "mpp-y": 0.499,
        "objective-power": "20",
        "background-color": "FFFFFF",
        "bounds-x": "12",
        "comment": "patient John Doe",
        "quickhash-1": "00ff",
        "aperio.User": "b414",
        "aperio.Filename": "CMU-1",
        "tiff.ImageDescription": "x",
        "hamamatsu.SerialNumber": "1",
    }
    assert safe_properties(raw, LEVELS) == {
        "vendor": "aperio",
        "mpp-x": "0.499",
        "mpp-y": "0.499",
        "objective-power": "20",
        "background-color": "FFFFFF",
        "bounds-x": "12",
        "level-count": "2",
        "level[0].width": "1001",
        "level[0].height": "463",
        "level[0].downsample": "1",
        "level[1].width": "500",
        "level[1].height": "231",
        "level[1].downsample": "2",
    }


def test_free_text_in_an_allowed_key_stays_behind():
    raw = {
        "vendor": "Doe, John 1960-01-01",
        "objective-power": "20x for Dr. Who",
        "background-color": "white",
        "mpp-x": "nan",
    }
    assert set(safe_properties(raw, ())) == {"level-count"}


@pytest.mark.parametrize(
    ("value", "number"),
    [("0.5", 0.5), (3, 3.0), (None, None), ("x", None), ("inf", None), ([], None), (10**400, None)],
)
def test_finite_number(value, number):
    assert finite_number(value) == number
