from __future__ import annotations

import numpy as np
import pytest
import tifffile

from tests.conformance.slide_conformance import SlideCase, SlideConformance, pattern, pyramid_of
from wsikit.errors import SlideError
from wsikit.slides import openslide
from wsikit.slides.openslide import OpenSlideSlide
from wsikit.slides.slide import MAX_DAMAGED, DamagedPixelsError
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


def test_a_read_error_does_not_stay(tmp_path, write_pyramid):
    """OpenSlide's handle is of no more use after it; the slide goes on with another."""
    truth = pattern(256, 384)
    path = write_pyramid(tmp_path / "slide.tif", [truth], MPP)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 64] = bytes(64)
    path.write_bytes(content)
    with OpenSlideSlide(path) as slide:
        for _ in range(2):
            with pytest.raises(DamagedPixelsError, match=r"^slide\.tif: OpenSlide cannot read"):
                slide.read(Box(0, 0, 10, 10))
            np.testing.assert_array_equal(slide.read(Box(300, 200, 9, 8)), truth[200:208, 300:309])


@pytest.mark.parametrize("content", [b"", b"no slide at all", b"II*\0" + bytes(40)])
def test_what_is_no_slide_is_refused(tmp_path, content):
    path = tmp_path / "text.svs"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=r"^text\.svs: .*OpenSlide"):
        OpenSlideSlide(path)


@pytest.mark.parametrize("offset", [0, 8, 16, 64])
def test_messages_name_the_file_but_no_folder(tmp_path, write_pyramid, offset):
    path = write_pyramid(tmp_path / "slide.tif", [pattern(256, 384)], MPP)
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = b"\xff\x1b\n" * 7
    path.write_bytes(content)
    try:
        OpenSlideSlide(path).close()
    except SlideError as error:
        line = str(error)
    else:
        return
    assert line.startswith("slide.tif: ")
    assert str(tmp_path) not in line
    assert line.isprintable()


def test_a_slide_damaged_throughout_ends_soon(tmp_path, write_pyramid):
    path = write_pyramid(tmp_path / "slide.tif", [pattern(3000, 4000)], MPP)
    with tifffile.TiffFile(path) as tiff:
        places = list(zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True))
    content = bytearray(path.read_bytes())
    for offset, count in places:
        content[offset : offset + count] = bytes(count)
    path.write_bytes(content)
    with (
        OpenSlideSlide(path) as slide,
        slide.tolerating_damage() as damaged,
        pytest.raises(SlideError, match=r"^slide\.tif: too much of it"),
    ):
        slide.read(Box(0, 0, 4000, 3000))
    assert len(damaged) == MAX_DAMAGED


def test_a_slide_of_hardly_any_bytes_a_pixel_is_refused(tmp_path, write_pyramid, monkeypatch):
    path = write_pyramid(tmp_path / "slide.tif", [pattern(256, 384)], MPP)
    OpenSlideSlide(path).close()
    monkeypatch.setattr(openslide, "MAX_PX_PER_BYTE", 256 * 384 / path.stat().st_size - 0.01)
    with pytest.raises(SlideError, match=r"^slide\.tif: its header states 384 x 256 px in"):
        OpenSlideSlide(path)
