from __future__ import annotations

import shutil

import pytest

from wsikit.errors import SlideError
from wsikit.slides.dicom_lengths import refuse_lengths
from wsikit.slides.dicom_series import series_of
from wsikit.slides.open import open_slide
from wsikit.slides.slide import DamagedSlideError

META = b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01"


def dicom(path, *elements):
    path.write_bytes(bytes(128) + b"DICM" + b"".join(elements))
    return path


@pytest.mark.parametrize(
    "element",
    [
        b"\x02\x00\x02\x00OB\x00\x00\xff\xff\xff\x7f",
        b"\x02\x00\x02\x00OB\x00\x00\xff\xff\xff\xff",  # undefined where it may not be
        b"\x08\x00\x05\x00CS\xff\xffISO",
        b"\x08\x00\x05\x01SQ\x00\x00\xff\xff\xff\x7f",
        b"\x08\x00\x05\x01SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        b"\x08\x00\x00\x01UT\x00\x00\x00\x00\x00\x70",
    ],
)
def test_a_length_beyond_the_file(tmp_path, element):
    path = dicom(tmp_path / "a.dcm", META, element)
    with pytest.raises(DamagedSlideError, match=r"^slide: DICOM element \(000[28],.*claims"):
        refuse_lengths(path, "slide")


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(400), b"\x89PNG" * 80])
def test_other_files_pass(tmp_path, content):
    (tmp_path / "any").write_bytes(content)
    refuse_lengths(tmp_path / "any", "any")


def test_real_files_pass(real_data):
    for path in (real_data / "slides").rglob("*.dcm"):
        refuse_lengths(path, path.name)
        assert series_of(path)


def test_a_series_with_a_damaged_file_is_no_slide_with_a_level_less(real_data, tmp_path):
    """OpenSlide would leave level 0 out, and the slide would be half as fine as it is."""
    twin = real_data / "slides" / "cmu-1-small-region-dicom"
    for path in twin.glob("level-[3-6]*.dcm"):
        shutil.copyfile(path, tmp_path / path.name)
    finest = tmp_path / "level-3-frames-0-1.dcm"
    whole = finest.read_bytes()
    with open_slide(tmp_path) as slide:
        size = slide.size_l0
    for content in (whole[:700], whole[:1100], bytes(200) + whole[200:]):
        finest.write_bytes(content)
        with pytest.raises(SlideError, match=rf"^{tmp_path.name}: its file level-3-frames"):
            open_slide(tmp_path)
    finest.write_bytes(whole)
    with open_slide(tmp_path) as slide:
        assert slide.size_l0 == size


def test_a_file_of_another_series_that_cannot_be_opened_is_passed_over(real_data, tmp_path):
    """A report or a segmentation beside the slide."""
    twin = real_data / "slides" / "cmu-1-small-region-dicom"
    for path in twin.glob("level-[4-6]*.dcm"):
        shutil.copyfile(path, tmp_path / path.name)
    other = (real_data / "slides" / "camelyon-overview.dcm").read_bytes()
    (tmp_path / "report.dcm").write_bytes(
        other.replace(b"1.2.840.10008.5.1.4.1.1.77.1.6", b"1" * 30)
    )
    with open_slide(tmp_path) as slide:
        assert len(slide.levels) == 3
