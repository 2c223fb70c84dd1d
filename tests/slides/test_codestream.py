from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from wsikit.slides.codestream import jpeg2000_size, jpeg_is_subsampled, jpeg_size

PICTURE = np.zeros((30, 47, 3), np.uint8)


def test_sizes():
    assert jpeg_size(imagecodecs.jpeg8_encode(PICTURE)) == (47, 30, 3)
    assert jpeg_size(imagecodecs.jpeg8_encode(PICTURE[..., 0].copy())) == (47, 30, 1)
    for kind in ("j2k", "jp2"):
        data = imagecodecs.jpeg2k_encode(PICTURE, codecformat=kind, level=0)
        assert jpeg2000_size(data) == (47, 30, 3)


@pytest.mark.parametrize(
    ("subsampling", "expected"), [("444", False), ("422", True), ("420", True)]
)
def test_subsampling(subsampling, expected):
    data = imagecodecs.jpeg8_encode(PICTURE, subsampling=subsampling)
    assert jpeg_is_subsampled(data) is expected


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\x00\x11\x08", b"\xff" * 40, b"x" * 99]
)
@pytest.mark.parametrize("measure", [jpeg_size, jpeg2000_size, jpeg_is_subsampled])
def test_what_is_no_codestream(data, measure):
    with pytest.raises(ValueError, match="not a JPEG"):
        measure(data)


def test_every_cut_ends():
    """A header cut anywhere is measured or refused, never a loop or another error."""
    data = imagecodecs.jpeg8_encode(PICTURE)
    for end in range(len(data)):
        try:
            assert jpeg_size(data[:end]) == (47, 30, 3)
        except ValueError:
            continue


def test_jpeg2000_channels_of_less_resolution_are_refused():
    """The decoder cannot join them, and says so on stderr."""
    data = bytearray(imagecodecs.jpeg2k_encode(PICTURE, codecformat="j2k", level=0))
    sizes = data.find(b"\xff\x51") + 2 + 38  # depth and steps of each channel
    assert jpeg2000_size(bytes(data)) == (47, 30, 3)
    data[sizes + 4] = 2
    with pytest.raises(ValueError, match="differ in resolution"):
        jpeg2000_size(bytes(data))
