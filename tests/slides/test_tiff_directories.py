"""Headers that cannot be true, each refused by name before a library believes it."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
import tifffile

from tests.conformance.slide_conformance import pattern, pyramid_of
from wsikit.errors import SlideError
from wsikit.slides.open import open_slide
from wsikit.slides.slide import DamagedSlideError
from wsikit.slides.tiff_directories import MAX_DIRECTORIES, refuse_lies
from wsikit.types import Mpp

OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{notes}<Image ID="Image:0">'
    '<Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeX="200" SizeY="150" SizeC="3" SizeZ="1" '
    'SizeT="{times}" Type="uint8" PhysicalSizeX="0.5" PhysicalSizeY="0.5">'
    '<Channel ID="Channel:0" SamplesPerPixel="3"/>{data}</Pixels></Image></OME>'
)
MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="A" Namespace="x/modulo"><Value><Modulo>'
    '<ModuloAlongT Type="other" Start="0" End="400000000" Step="1"/>'
    "</Modulo></Value></XMLAnnotation></StructuredAnnotations>"
)
PLANE = '<TiffData IFD="0" PlaneCount="1"/>'


@pytest.fixture(params=["<", ">", "big"])
def pyramid(request, tmp_path):
    """Three levels, in each layout of TIFF."""
    path = tmp_path / "slide.tif"
    order, big = (">", True) if request.param == "big" else (request.param, False)
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as tiff:
        for level in pyramid_of(pattern(520, 712), 3):
            tiff.write(level, tile=(64, 64), photometric="rgb", metadata=None)
    refuse_lies(path)
    return path


def overwrite(path, page, tag, value):
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[page].tags[tag].overwrite(value)


def link(path, page, target):
    """Lead the directory of a page to that of another."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        layout, pages = tiff.tiff, list(tiff.pages)
        end = pages[page].offset + layout.tagnosize + len(pages[page].tags) * layout.tagsize
        tiff.filehandle.seek(end)
        tiff.filehandle.write(struct.pack(layout.offsetformat, pages[target].offset))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("page", "target"), [(2, 0), (2, 2), (1, 1), (2, 1)])
def test_a_circle(pyramid, page, target):
    link(pyramid, page, target)
    with pytest.raises(DamagedSlideError, match=r"^slide\.tif: its TIFF directories lead in a cir"):
        open_slide(pyramid)


@pytest.mark.parametrize("page", [0, 2])
@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [
        ("TileWidth", 1 << 24, "too large"),
        ("ImageLength", 65535, r"lists \d+ tiles where \d+ are needed"),
        ("ImageWidth", 1 << 30, r"lists \d+ tiles where \d+ are needed"),
    ],
)
def test_one_number_too_large(pyramid, page, tag, value, said):
    overwrite(pyramid, page, tag, value)
    with pytest.raises(DamagedSlideError, match=rf"^slide\.tif: .*{said}"):
        open_slide(pyramid)


def test_tiles_of_more_bytes_than_the_file(pyramid):
    with tifffile.TiffFile(pyramid, mode="r+b") as tiff:
        tag = tiff.pages[1].tags["TileByteCounts"]
        tag.overwrite([*tag.value[:-1], 1 << 30], dtype="I")
    with pytest.raises(DamagedSlideError, match="a tile claims"):
        open_slide(pyramid)


def test_a_tag_of_more_bytes_than_the_file(pyramid):
    with tifffile.TiffFile(pyramid, mode="r+b") as tiff:
        tag = tiff.pages[0].tags["TileOffsets"]
        tiff.filehandle.seek(tag.offset + 4)
        tiff.filehandle.write(struct.pack(tiff.tiff.offsetformat, 0x7FFFFFF0))
    with pytest.raises(DamagedSlideError, match="TIFF tag 324 claims"):
        open_slide(pyramid)


def test_a_chain_without_end(tmp_path):
    path = tmp_path / "slide.tif"
    count = MAX_DIRECTORIES + 1
    offsets = [8 + 6 * i for i in range(count)] + [0]
    directories = b"".join(struct.pack("<HI", 0, after) for after in offsets[1:])
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directories)
    with pytest.raises(DamagedSlideError, match="more than 1000 TIFF directories"):
        refuse_lies(path)


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0", b"MM\0*\0\0\0\x08", b"text" * 9])
def test_other_files_pass(tmp_path, content):
    (tmp_path / "any").write_bytes(content)
    refuse_lies(tmp_path / "any")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_what_is_cut_short_is_left_to_the_readers(pyramid, share):
    content = pyramid.read_bytes()
    pyramid.write_bytes(content[: int(len(content) * share)])
    refuse_lies(pyramid)
    with pytest.raises(SlideError, match=r"^slide\.tif: .*cut short"):
        open_slide(pyramid)


def ome(path, **parts):
    text = OME.format(**{"notes": "", "times": 1, "data": PLANE} | parts)
    tifffile.imwrite(
        path, pattern(150, 200), tile=(64, 64), photometric="rgb", description=text, metadata=None
    )
    return path


@pytest.mark.parametrize(
    "parts",
    [
        {"times": 400_000_000},
        {"data": PLANE.replace('"1"', '"400000000"')},
        {"data": PLANE.replace('IFD="0"', 'FirstT="400000000"')},
        {"notes": MODULO},
    ],
)
def test_planes_beyond_number(tmp_path, parts):
    """Each of these makes a list of gigabytes in a library that believes it."""
    with pytest.raises(DamagedSlideError, match=r"^a\.ome\.tif: its OME-XML speaks of"):
        open_slide(ome(tmp_path / "a.ome.tif", **parts))


def test_plain_ome_passes(tmp_path):
    with open_slide(ome(tmp_path / "a.ome.tif")) as slide:
        assert slide.mpp == (0.5, 0.5)


@pytest.mark.parametrize("named", ["../other/secret.tif", "{other}", "old-name.ome.tif"])
def test_no_file_is_opened_that_ome_xml_names(tmp_path, named):
    """A slide that names another by a path, and one that was renamed: both are what they hold."""
    other = tmp_path / "other" / "secret.tif"
    other.parent.mkdir()
    tifffile.imwrite(other, np.zeros((150, 200, 3), np.uint8), tile=(64, 64), photometric="rgb")
    name = named.format(other=other)
    data = f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
    (tmp_path / "in").mkdir()
    path = ome(tmp_path / "in" / "a.ome.tif", data=data)
    opened = _Opened()
    with open_slide(path, Mpp(0.5, 0.5)) as slide:
        image = slide.read_level(0, 0, 0, 200, 150)
    assert opened.names() <= {str(path)}
    np.testing.assert_array_equal(image, pattern(150, 200))


class _Opened:
    """Note which files below the test's folder are opened from now on."""

    def __init__(self):
        self._names = []
        sys.addaudithook(self._note)

    def _note(self, event, arguments):
        if event == "open" and self._names is not None:
            self._names.append(str(arguments[0]))

    def names(self):
        found, self._names = self._names, None
        return {name for name in found if name.endswith(".tif")}
