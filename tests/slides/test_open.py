from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.conformance.slide_conformance import pattern
from wsikit.errors import SlideError, UsageError
from wsikit.slides.open import SLIDE_SUFFIXES, default_slide_id, find_slides, open_slide
from wsikit.types import Box, Mpp


@pytest.fixture
def tif(tmp_path):
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, pattern(128, 192), tile=(64, 64), photometric="rgb")
    return path


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_the_fast_reader_comes_first(tif):
    with open_slide(tif) as slide:
        assert slide.backend == "tiff"
    with open_slide(tif, backend="openslide") as slide:
        assert slide.backend == "openslide"


def test_suffixes_in_capitals(tif):
    path = tif.rename(tif.with_name("SLIDE.SVS"))
    with open_slide(path) as slide:
        assert slide.backend == "tiff"


def test_the_next_reader_is_tried(tmp_path):
    """JPEG 2000 in YCbCr, as Aperio writes it, is left to OpenSlide."""
    truth = np.full((128, 128, 3), (128, 128, 128), np.uint8)
    path = tmp_path / "slide.svs"
    tifffile.imwrite(
        path,
        truth,
        tile=(64, 64),
        compression=33005,
        photometric="rgb",
        description="Aperio Image Library v11 \r\n128x128 (64x64) J2K/YUV16|MPP = 0.5",
        metadata=None,
    )
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(33003)
    with open_slide(path) as slide:
        assert slide.backend == "openslide"
        assert np.abs(slide.read(Box(0, 0, 128, 128)).astype(int) - truth).max() <= 1


def test_pictures(tmp_path):
    Image.fromarray(pattern(64, 96)).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png", Mpp(0.5, 0.5)) as slide:
        assert (slide.backend, slide.mpp) == ("picture", (0.5, 0.5))


@pytest.mark.parametrize("backend", ["tif", "PIL"])
def test_an_unknown_reader(tif, backend):
    with pytest.raises(UsageError, match=f"'{backend}'.*(did you mean 'tiff'|use one of)"):
        open_slide(tif, backend=backend)


@pytest.mark.parametrize("content", [b"just text\n", b"II*\0\x08\0\0\0", b"II*\0" + b"\xff" * 200])
def test_what_nothing_reads_is_one_line(tmp_path, content):
    path = tmp_path / "text.svs"
    path.write_bytes(content)
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("text.svs: no reader can open it (tiff: ")
    assert "openslide: " in line
    assert line.count("text.svs") == 1


def test_empty_missing_and_folders(tmp_path):
    (tmp_path / "empty.svs").touch()
    with pytest.raises(SlideError, match=r"^empty\.svs: the file is empty"):
        open_slide(tmp_path / "empty.svs")
    with pytest.raises(SlideError, match=r"^none\.svs: No such file"):
        open_slide(tmp_path / "none.svs")
    with pytest.raises(UsageError, match="a folder without DICOM"):
        open_slide(tmp_path)
    touch(tmp_path, "dicom/a.dcm", "dicom/b.dcm")
    with pytest.raises(SlideError, match=r"^dicom: not a format"):
        open_slide(tmp_path / "dicom")


def test_find_searches_folders(tmp_path):
    touch(tmp_path, "b.svs", "a/z.TIFF", "a/y.ndpi", ".hidden.svs", ".cache/c.svs", "notes.txt")
    touch(tmp_path, "m.mrxs", "m/Data.tif", "n/only.mrxs", "p/1.png", "p/2.jpg")
    touch(tmp_path, "d/1.dcm", "d/2.dcm", "d/label.png", "e/one.dcm", "b_mask.png")
    found = [str(path.relative_to(tmp_path)) for path in find_slides([tmp_path])]
    assert found == [
        "b.svs",
        "m.mrxs",
        "a/y.ndpi",
        "a/z.TIFF",
        "d",
        "e/one.dcm",
        "n/only.mrxs",
        "p/1.png",
        "p/2.jpg",
    ]


def test_find_takes_files_as_given_and_once(tmp_path):
    touch(tmp_path, "b.svs", "a.svs", "c.xyz", "b_mask.png")
    given = [tmp_path / "b_mask.png", tmp_path / "c.xyz", tmp_path / "b.svs", tmp_path]
    assert [path.name for path in find_slides(given)] == ["b_mask.png", "c.xyz", "b.svs", "a.svs"]


def test_find_follows_links_but_not_in_circles(tmp_path):
    touch(tmp_path, "real/a.svs")
    (tmp_path / "all").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "all" / "linked")
    os.symlink(tmp_path / "all", tmp_path / "real" / "back")
    found = find_slides([tmp_path / "all"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["all/linked/a.svs"]


def test_find_says_what_is_not_there(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(UsageError, match="no slides") as caught:
        find_slides([tmp_path])
    assert str(tmp_path) in str(caught.value)
    assert all(suffix in str(caught.value) for suffix in SLIDE_SUFFIXES)
    with pytest.raises(UsageError, match=r"none\.svs: there is no such"):
        find_slides([tmp_path / "none.svs"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.svs", "a"),
        ("a.b.SVS", "a.b"),
        ("a.ome.tiff", "a"),
        ("a.OME.TIF", "a"),
        ("TCGA-01 (2)/x.svs", "x"),
        ("Schnitt Ä 1.ndpi", "Schnitt___1"),
        ("..svs", "slide"),
        ("...a.tif", "a"),
        ("no-suffix", "no-suffix"),
        ("v1.2.xyz", "v1.2"),
        ("x" * 200 + ".svs", "x" * 128),
    ],
)
def test_slide_ids(tmp_path, name, expected):
    assert default_slide_id(tmp_path / name) == expected


def test_the_id_of_a_dicom_folder_is_its_name(tmp_path):
    (tmp_path / "case.1.svs").mkdir()
    assert default_slide_id(tmp_path / "case.1.svs") == "case.1.svs"
