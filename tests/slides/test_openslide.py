from __future__ import annotations

import numpy as np
import pytest
import tifffile

from tests.conformance.slide_conformance import SlideCase, SlideConformance, pattern, pyramid_of
from wsikit.errors import SlideError
from wsikit.slides.openslide import OpenSlideSlide
from wsikit.slides.tiff import TiffSlide
from wsikit.types import Box, Mpp

MPP = Mpp(0.5, 0.48)


class TestConformance(SlideConformance):
    @pytest.fixture
    def case(self, tmp_path, write_pyramid):
        levels = pyramid_of(pattern(520, 712), 3)
        path = write_pyramid(tmp_path / "slide.tif", levels, MPP)
        return SlideCase(path, levels, MPP, lambda: OpenSlideSlide(path))


def test_transparent_pixels_are_white(tmp_path):
    """OpenSlide leaves a tile without data transparent."""
    truth = pattern(128, 256)
    path = tmp_path / "slide.svs"
    tifffile.imwrite(
        path,
        truth,
        tile=(128, 128),
        compression="jpeg",
        photometric="rgb",
        description="Aperio Image Library v11 \r\n256x128 (128x128) JPEG/RGB|MPP = 0.5",
        metadata=None,
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]
        counts.overwrite([counts.value[0], 0])
    with OpenSlideSlide(path) as slide, TiffSlide(path) as other:
        got = slide.read(Box(0, 0, 256, 128))
        np.testing.assert_array_equal(got, other.read(Box(0, 0, 256, 128)))
    assert got[:, 128:].min() == 255
    assert got[:, :128].min() < 100


def test_an_odd_pyramid_is_off_by_less_than_half_a_pixel(tmp_path, write_pyramid):
    """What OpenSlide's whole level-0 coordinates cost: a slight blur, no shift that adds up."""
    y, x = np.mgrid[:463, :1001]
    ramp = np.dstack([x * 255 / 1001, y * 255 / 463, x * 0]).astype(np.uint8)
    path = write_pyramid(tmp_path / "odd.tif", pyramid_of(ramp, 3), MPP)
    with OpenSlideSlide(path) as slide, TiffSlide(path) as exact:
        assert slide.levels == exact.levels
        for level, (width, height) in enumerate(e.size for e in exact.levels):
            box = (level, width // 2, height // 2, width // 3, height // 3)
            ours = exact.read_level(*box).astype(int)
            assert np.abs(slide.read_level(*box) - ours).max() <= 2


def test_a_read_error_stays(tmp_path, write_pyramid):
    path = write_pyramid(tmp_path / "slide.tif", [pattern(256, 384)], MPP)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 64] = bytes(64)
    path.write_bytes(content)
    with OpenSlideSlide(path) as slide:
        for box in (Box(0, 0, 10, 10), Box(300, 200, 10, 10)):
            with pytest.raises(SlideError, match=r"^slide\.tif: OpenSlide cannot read level 0"):
                slide.read(box)


@pytest.mark.parametrize("content", [b"", b"no slide at all", b"II*\0" + bytes(40)])
def test_what_is_no_slide_is_refused(tmp_path, content):
    path = tmp_path / "text.svs"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=r"^text\.svs: .*OpenSlide"):
        OpenSlideSlide(path)
