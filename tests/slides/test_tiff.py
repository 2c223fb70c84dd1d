from __future__ import annotations

import numpy as np
import openslide
import pytest
import tifffile

from tests.conformance.slide_conformance import SlideCase, SlideConformance, pattern, pyramid_of
from wsikit.errors import MppError, SlideError
from wsikit.slides.slide import DamagedSlideError
from wsikit.slides.tiff import TiffSlide
from wsikit.types import Box, Mpp

MPP = Mpp(0.5, 0.48)
APERIO = "Aperio Image Library v11.2.1 \r\n400x300 (128x128) JPEG/RGB Q=30|AppMag = 20|MPP = {mpp}"


class TestConformance(SlideConformance):
    @pytest.fixture
    def case(self, tmp_path, write_pyramid):
        levels = pyramid_of(pattern(520, 712), 3)
        path = write_pyramid(tmp_path / "slide.tif", levels, MPP)
        return SlideCase(path, levels, MPP, lambda: TiffSlide(path))


class TestOddSizes(SlideConformance):
    """A pyramid that drops its odd last pixels, in which sizes alone give the wrong downsample."""

    @pytest.fixture
    def case(self, tmp_path, write_pyramid):
        levels = pyramid_of(pattern(463, 1001), 3)
        path = write_pyramid(tmp_path / "odd.tif", levels, MPP)
        return SlideCase(path, levels, MPP, lambda: TiffSlide(path))


class TestOmeSubIfds(SlideConformance):
    """OME-TIFF as QuPath and bfconvert write it: reduced levels in SubIFDs, mpp in the XML."""

    @pytest.fixture
    def case(self, tmp_path):
        levels = pyramid_of(pattern(520, 712), 3)
        path = tmp_path / "slide.ome.tif"
        options = {"tile": (64, 64), "compression": "lzw", "photometric": "rgb"}
        size = {"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.48}
        with tifffile.TiffWriter(path, ome=True) as tiff:
            tiff.write(levels[0], subifds=2, metadata={"axes": "YXS", **size}, **options)
            for level in levels[1:]:
                tiff.write(level, subfiletype=1, **options)
        return SlideCase(path, levels, MPP, lambda: TiffSlide(path))


class TestStrips(SlideConformance):
    @pytest.fixture
    def case(self, tmp_path, write_pyramid):
        levels = [pattern(301, 407)]
        path = write_pyramid(tmp_path / "strips.tif", levels, MPP, tile=None, rowsperstrip=7)
        return SlideCase(path, levels, MPP, lambda: TiffSlide(path))


@pytest.mark.parametrize("compression", [None, "lzw", "packbits", "zstd", 33005, 34712])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_lossless_codecs(tmp_path, compression, byteorder):
    truth = pattern(300, 400)
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path,
        truth,
        tile=(128, 128),
        compression=compression,
        photometric="rgb",
        byteorder=byteorder,
    )
    with TiffSlide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 400, 300)), truth)


def test_predictor(tmp_path):
    truth = pattern(300, 400)
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, truth, tile=(64, 64), compression="deflate", predictor=True)
    with TiffSlide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 400, 300)), truth)


@pytest.mark.parametrize("tile", [(128, 128), None])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_colour(tmp_path, tile, subsampling):
    y, x = np.mgrid[:256, :384]
    truth = np.stack([x * 255 // 384, y * 255 // 256, 255 - x * 255 // 384], 2).astype(np.uint8)
    path = tmp_path / "slide.tif"
    strips = {} if tile else {"rowsperstrip": 64}
    tifffile.imwrite(
        path,
        truth,
        tile=tile,
        compression="jpeg",
        subsampling=subsampling,
        photometric="rgb",
        **strips,
    )
    with TiffSlide(path) as slide:
        got = slide.read(Box(0, 0, 384, 256))
    assert np.abs(got.astype(int) - truth).mean() < 1.5
    assert np.abs(got.astype(int) - truth).max() < 16


def test_rgb_stored_as_rgb_in_jpeg(tmp_path):
    """Aperio keeps RGB unconverted in JPEG; OpenSlide says what it must look like."""
    truth = pattern(256, 384) // 8 * 4 + 60
    path = tmp_path / "slide.svs"
    options = {"compressionargs": {"level": 95, "outcolorspace": "rgb"}, "photometric": "rgb"}
    tifffile.imwrite(
        path,
        truth,
        tile=(128, 128),
        compression="jpeg",
        description=APERIO.format(mpp=0.25),
        metadata=None,
        **options,
    )
    with TiffSlide(path) as slide, openslide.OpenSlide(path) as other:
        got = slide.read(Box(0, 0, 384, 256))
        assert slide.mpp == (0.25, 0.25)
        assert slide.properties["vendor"] == "aperio"
        theirs = np.asarray(other.read_region((0, 0), 0, (384, 256)))[..., :3]
    np.testing.assert_array_equal(got, theirs)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_alpha_lies_on_white(tmp_path, kind):
    pixels = np.dstack([pattern(100, 130), np.full((100, 130), 128, np.uint8)])
    pixels[:, :65, 3] = 255
    pixels[:50, 100:] = 0
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", extrasamples=[kind])
    colour, alpha = pixels[..., :3].astype(float), pixels[..., 3:] / 255
    truth = {
        "unassalpha": colour * alpha + 255 * (1 - alpha),
        "assocalpha": np.minimum(colour + 255 * (1 - alpha), 255),
        "unspecified": colour,
    }[kind]
    with TiffSlide(path) as slide:
        assert np.abs(slide.read(Box(0, 0, 130, 100)) - truth).max() <= 0.51


def test_grey_becomes_rgb(tmp_path):
    truth = pattern(100, 130)[..., 2]
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, truth, tile=(64, 64), photometric="minisblack")
    with TiffSlide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 130, 100)), np.dstack([truth] * 3))


def test_a_missing_tile_is_white(tmp_path):
    truth = pattern(128, 256)
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, truth, tile=(128, 128), compression="deflate", photometric="rgb")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]
        counts.overwrite([counts.value[0], 0])
    truth[:, 128:] = 255
    with TiffSlide(path) as slide:
        np.testing.assert_array_equal(slide.read(Box(0, 0, 256, 128)), truth)


def test_label_and_macro_are_no_levels(tmp_path):
    truth = pattern(300, 400)
    path = tmp_path / "slide.svs"
    with tifffile.TiffWriter(path) as tiff:
        options = {"photometric": "rgb", "metadata": None}
        tiff.write(truth, tile=(128, 128), description=APERIO.format(mpp=0.5), **options)
        tiff.write(truth[:75, :100], description="Aperio thumbnail", **options)
        tiff.write(truth[:60, :40], subfiletype=1, description="Aperio\r\nlabel 40x60", **options)
        tiff.write(truth[:50, :90], subfiletype=9, description="Aperio\r\nmacro 90x50", **options)
    with TiffSlide(path) as slide:
        assert [level.size for level in slide.levels] == [(400, 300)]


def test_no_tags_no_mpp(tmp_path):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, pattern(100, 130), tile=(64, 64), photometric="rgb")
    with TiffSlide(path) as slide, pytest.raises(MppError, match=r"slide\.tif: .*--mpp"):
        _ = slide.mpp
    with TiffSlide(path, Mpp(0.3, 0.31)) as slide:
        assert slide.mpp == (0.3, 0.31)


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_print_resolutions_are_no_mpp(tmp_path, dpi):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path, pattern(64, 96), photometric="rgb", resolution=(dpi, dpi), resolutionunit="INCH"
    )
    with TiffSlide(path) as slide, pytest.raises(MppError, match="outside"):
        _ = slide.mpp


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": np.uint16}, "uint16"),
        ({"dtype": np.float32}, "float32"),
        ({"planar": True}, "apart|axes"),
        ({"photometric": "miniswhite"}, "photometric"),
        ({"compression": 33003}, "YCbCr"),
        ({"compression": "webp"}, "compression 50001"),
    ],
)
def test_what_is_not_read_is_refused(tmp_path, options, reason):
    pixels = pattern(128, 256).astype(options.pop("dtype", np.uint8))
    given = {"tile": (64, 64), "photometric": "rgb"} | options
    if given.pop("planar", False):
        pixels, given["planarconfig"] = np.moveaxis(pixels, 2, 0).copy(), "separate"
    elif given["photometric"] == "miniswhite":
        pixels = pixels[..., 0]
    path = tmp_path / "slide.tif"
    if given.get("compression") == 33003:
        tifffile.imwrite(path, pixels, **given | {"compression": 33005})
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            tiff.pages[0].tags["Compression"].overwrite(33003)
    else:
        tifffile.imwrite(path, pixels, **given)
    with pytest.raises(SlideError, match=rf"slide\.tif: .*({reason})"):
        TiffSlide(path)


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        ("ImageWidth", 2**31 + 5, "tiles|2147483653"),
        ("ImageLength", 2**20, "lists 8 tiles"),
        ("TileOffsets", [2**40] * 8, "cut short"),
        ("TileByteCounts", [2**30] * 8, "cut short"),
        ("TileWidth", 1 << 21, "too large"),
        ("TileWidth", 0, "TIFF header|tiles"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, tag, value, reason):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path,
        pattern(128, 256),
        tile=(64, 64),
        compression="deflate",
        photometric="rgb",
        bigtiff=True,
        metadata=None,
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        found = tiff.pages[0].tags[tag]
        found.overwrite(value, dtype="Q" if tag.startswith("Tile") and "W" not in tag else "I")
    with pytest.raises(SlideError, match=rf"slide\.tif: .*({reason})"):
        TiffSlide(path)


@pytest.mark.parametrize("compression", ["jpeg", 33005])
def test_a_tile_that_asks_for_gigabytes_is_refused(tmp_path, compression):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path, pattern(64, 64), tile=(64, 64), compression=compression, photometric="rgb"
    )
    content = bytearray(path.read_bytes())
    if compression == "jpeg":
        at = content.find(b"\xff\xc0") + 5
        content[at : at + 4] = b"\xea\x60\xea\x60"
    else:
        at = content.find(b"\xff\x4f\xff\x51") + 8
        content[at : at + 8] = b"\x00\x00\xea\x60\x00\x00\xea\x60"
    path.write_bytes(content)
    with TiffSlide(path) as slide, pytest.raises(SlideError, match=r"slide\.tif: .*60000 x 60000"):
        slide.read(Box(0, 0, 64, 64))


def test_jpeg_data_that_stop_short_are_an_error(tmp_path):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, pattern(64, 64), tile=(64, 64), compression="jpeg", photometric="rgb")
    content = bytearray(path.read_bytes())
    start, end = content.find(b"\xff\xda") + 100, content.rfind(b"\xff\xd9") + 2
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    with TiffSlide(path) as slide, pytest.raises(SlideError, match="stop short"):
        slide.read(Box(0, 0, 64, 64))


def test_a_truncated_file_is_damaged(tmp_path, write_pyramid):
    path = write_pyramid(tmp_path / "slide.tif", pyramid_of(pattern(520, 712), 2), MPP)
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        last = max(tiff.pages[1].dataoffsets)
    path.write_bytes(whole[: last + 5])
    with pytest.raises(DamagedSlideError, match=r"slide\.tif: .*cut short"):
        TiffSlide(path)


@pytest.mark.parametrize("compression", ["deflate", "jpeg", None, 33005])
def test_damaged_bytes_never_raise_anything_else(tmp_path, write_pyramid, compression):
    """Bytes of the directories and the data changed at random: read, or refused in one line."""
    path = tmp_path / "slide.tif"
    write_pyramid(path, pyramid_of(pattern(150, 200), 2), MPP, compression=compression)
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        directories = [page.offset for page in tiff.pages]
    rng = np.random.default_rng(0)
    refusals = []
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            near = rng.choice(directories) + rng.integers(250)
            at = near if rng.random() < 0.8 else rng.integers(len(whole))
            content[min(at, len(whole) - 1)] = rng.choice([0, 1, 127, 255, rng.integers(256)])
        path.write_bytes(content)
        try:
            with TiffSlide(path) as slide:
                width, height = slide.size_l0
                slide.read(Box(0, 0, min(width, 256), min(height, 256)))
        except SlideError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert all(line.startswith("slide.tif: ") and "\n" not in line for line in refusals)
