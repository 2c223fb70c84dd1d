from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from tests.conformance.slide_conformance import SlideCase, SlideConformance, pattern
from wsikit.errors import MppError, SlideError
from wsikit.slides import picture
from wsikit.slides.picture import PictureSlide
from wsikit.types import Box, Mpp

MPP = Mpp(0.5, 0.48)


class TestConformance(SlideConformance):
    @pytest.fixture
    def case(self, tmp_path):
        levels = [pattern(301, 407)]
        path = tmp_path / "picture.png"
        Image.fromarray(levels[0]).save(path)
        return SlideCase(path, levels, MPP, lambda: PictureSlide(path, MPP))


def read(path):
    with PictureSlide(path) as slide:
        return slide.read(Box(0, 0, *slide.size_l0)).astype(int)


def test_bmp_and_jpeg(tmp_path):
    truth = pattern(64, 96)
    truth[..., 2] = 90
    for name, tolerance in (("a.bmp", 0), ("a.jpg", 12)):
        Image.fromarray(truth).save(tmp_path / name)
        assert np.abs(read(tmp_path / name) - truth).max() <= tolerance


def test_grey_palette_and_bilevel(tmp_path):
    grey = pattern(64, 96)[..., 2]
    path = tmp_path / "a.png"
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(read(path), np.dstack([grey] * 3))
    palette = Image.fromarray(grey // 32)
    palette.putpalette([value for i in range(8) for value in (i * 30, 255 - i * 30, i)])
    palette.save(path)
    truth = np.dstack([grey // 32 * 30, 255 - grey // 32 * 30, grey // 32])
    np.testing.assert_array_equal(read(path), truth)
    Image.fromarray(grey > 99).save(path)
    np.testing.assert_array_equal(read(path), np.dstack([(grey > 99) * 255] * 3))


def test_alpha_lies_on_white(tmp_path):
    pixels = np.dstack([pattern(64, 96), pattern(64, 96, seed=1)[..., 2]])
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    alpha = pixels[..., 3:] / 255
    truth = pixels[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read(path) - truth).max() <= 0.51


def test_a_transparent_palette_entry_is_white(tmp_path):
    index = pattern(64, 96)[..., 2] // 128
    image = Image.fromarray(index)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=0)
    truth = np.where(index[..., None] == 0, 255, [40, 50, 60])
    np.testing.assert_array_equal(read(tmp_path / "a.png"), truth)


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pattern(64, 96)).save(tmp_path / "a.jpg", exif=exif)
    with PictureSlide(tmp_path / "a.jpg") as slide:
        assert slide.size_l0 == (96, 64)


def test_dots_per_inch_are_no_mpp(tmp_path):
    Image.fromarray(pattern(64, 96)).save(tmp_path / "a.png", dpi=(50000, 50000))
    with PictureSlide(tmp_path / "a.png") as slide, pytest.raises(MppError, match=r"a\.png: "):
        _ = slide.mpp


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 3)])
def test_16_bits_are_refused(tmp_path, shape):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.zeros(shape, np.uint16)))
    with pytest.raises(SlideError, match=r"^a\.png: .*16 bits"):
        PictureSlide(path)


def test_cmyk_is_refused(tmp_path):
    Image.new("CMYK", (20, 10)).save(tmp_path / "a.jpg")
    with pytest.raises(SlideError, match=r"^a\.jpg: .*CMYK"):
        PictureSlide(tmp_path / "a.jpg")


def test_too_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 12_000)).save(path)  # 240 megapixels in 30 kB
    with pytest.raises(SlideError, match=r"^a\.png: .*million pixels"):
        PictureSlide(path)
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("1", (12_000, 10_000)).save(path)  # where Pillow only warns
    PictureSlide(path).close()
    assert limit == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(picture, "MAX_PX", 10**6)
    with pytest.raises(SlideError, match=r"^a\.png: .*1 million pixels"):
        PictureSlide(path)


def test_damage(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pattern(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[:20_000])
    with PictureSlide(path) as slide, pytest.raises(SlideError, match=r"^a\.png: .*decoded"):
        slide.read(Box(0, 0, 10, 10))
    path.write_bytes(b"text")
    with pytest.raises(SlideError, match=r"^a\.png: not a picture"):
        PictureSlide(path)
    with pytest.raises(SlideError, match=r"^b\.png: No such file"):
        PictureSlide(tmp_path / "b.png")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_header_that_lies_is_refused(tmp_path, progressive):
    """libjpeg would fill gigabytes of coefficients before it missed the data."""
    path = tmp_path / "a.jpg"
    Image.fromarray(pattern(200, 300)).save(path, progressive=progressive)
    content = bytearray(path.read_bytes())
    at = content.find(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    content[at : at + 4] = b"\x30\x00\x38\x00"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=r"^a\.jpg: .*14336 x 12288 px, more than it holds"):
        PictureSlide(path)


def test_a_blank_jpeg_is_no_lie(tmp_path):
    path = tmp_path / "a.jpg"
    for mode in ("L", "RGB"):
        blank = Image.new(mode, (9000, 8000))
        blank.save(path, progressive=True, optimize=True, quality=1)
        PictureSlide(path).close()


def test_damage_is_found_once(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(pattern(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[:20_000])
    calls = []
    decode = picture._decoded
    monkeypatch.setattr(picture, "_decoded", lambda *given: calls.append(1) or decode(*given))
    with PictureSlide(path) as slide:
        for _ in range(3):
            with pytest.raises(SlideError, match="decoded"):
                slide.read(Box(0, 0, 10, 10))
    assert calls == [1]
