"""Two readers, same answers, on real slides; and real files that no reader should accept."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tiffslide

from wsikit.errors import SlideError
from wsikit.slides.open import find_slides, open_slide
from wsikit.types import Box, Mpp

SVS = "slides/cmu-1-small-region.svs"
TWIN = "slides/cmu-1-small-region-dicom"
TIFFS = [SVS, "idc/8863.tif", "idc/8864.tif", "idc/8865.tif", "idc/8913.tif"]


@pytest.mark.parametrize("name", TIFFS)
def test_three_readers_agree_to_the_bit(real_data, name):
    path = real_data / name
    with (
        open_slide(path) as ours,
        open_slide(path, backend="openslide") as theirs,
        tiffslide.TiffSlide(path) as library,
    ):
        assert (ours.backend, theirs.backend) == ("tiff", "openslide")
        assert ours.levels == theirs.levels
        assert ours.mpp == pytest.approx(theirs.mpp, rel=1e-9)
        for key in ours.properties.keys() & theirs.properties.keys():
            assert ours.properties[key] == theirs.properties[key]
        for x, y, width, height in [(0, 0, 700, 500), (1003, 617, 555, 801)]:
            got = ours.read_level(0, x, y, width, height)
            np.testing.assert_array_equal(got, theirs.read_level(0, x, y, width, height))
            other = library.read_region((x, y), 0, (width, height), as_array=True)
            np.testing.assert_array_equal(got, other)
        box, mpp = Box(333.3, 401.7, 1500, 1400), Mpp(ours.mpp.x * 1.7, ours.mpp.y * 1.7)
        np.testing.assert_array_equal(ours.read(box, mpp), theirs.read(box, mpp))


def test_a_slide_and_its_dicom_twin(real_data):
    """The twin was compressed again, and its header calls YCbCr frames RGB."""
    with open_slide(real_data / SVS) as svs, open_slide(real_data / TWIN) as twin:
        assert twin.backend == "openslide"
        assert twin.size_l0 == svs.size_l0
        assert twin.mpp == pytest.approx(svs.mpp)
        assert [level.downsample[0] for level in twin.levels] == [2.0**i for i in range(12)]
        whole = Box(0, 0, *svs.size_l0)
        for mpp, limit in ((None, 4.0), (Mpp(1.5, 1.5), 5.0), (Mpp(6.0, 6.0), 9.0)):
            a, b = svs.read(whole, mpp).astype(int), twin.read(whole, mpp).astype(int)
            assert np.abs(a - b).mean() < limit  # its reduced levels were not averaged over area
            assert np.abs((a - b).mean((0, 1))).max() < 1.1


def test_a_dicom_file_stands_for_its_folder(real_data):
    folder = real_data / TWIN
    file = sorted(folder.glob("*.dcm"))[3]
    with open_slide(folder) as a, open_slide(file) as b:
        assert a.levels == b.levels
        np.testing.assert_array_equal(a.read(Box(900, 900, 99, 88)), b.read(Box(900, 900, 99, 88)))
        assert a.fingerprint() == b.fingerprint()


def test_two_series_in_a_folder_are_refused(real_data, tmp_path):
    twin = sorted((real_data / TWIN).glob("*.dcm"))
    shutil.copy(twin[0], tmp_path / "a.dcm")
    shutil.copy(real_data / "slides" / "camelyon-overview.dcm", tmp_path / "b.dcm")
    with pytest.raises(SlideError, match="more than one DICOM series"):
        open_slide(tmp_path)


def test_a_slide_without_colour_trouble_is_left_alone(real_data):
    """The overview's header says YCbCr: its glass is near white."""
    with open_slide(real_data / "slides" / "camelyon-overview.dcm") as slide:
        assert slide.mpp == pytest.approx((28.969, 28.968))
        corner = slide.read(Box(0, 0, 60, 60))
        assert np.ptp(corner.mean((0, 1))) < 12


def test_no_header_text_leaves_a_real_slide(real_data):
    for backend in ("tiff", "openslide"):
        with open_slide(real_data / SVS, backend=backend) as slide:
            told = " ".join([*slide.properties, *slide.properties.values()])
        for secret in ("CMU", "b414003d", "12/29", "1004486", "USM", "CPAPERIOCS", "Aperio"):
            assert secret not in told


def test_find_in_the_real_folders(real_data):
    found = find_slides([real_data / "slides", real_data / "idc"])
    assert [path.name for path in found] == [
        "camelyon-overview.dcm",
        "cmu-1-small-region.svs",
        "cmu-1-small-region-dicom",
        "8863.tif",
        "8864.tif",
        "8865.tif",
        "8913.tif",
    ]
    assert len(find_slides([real_data / "ucsb"])) == 46


def refusal(path, box, backend=None):
    """Open and read a slide that must be refused, and return the line the user sees."""
    try:
        with open_slide(path, backend=backend) as slide:
            slide.read(box)
    except SlideError as error:
        return str(error)
    return pytest.fail(f"{path.name} was read")


@pytest.mark.parametrize("name", ["broken.svs", "unreadable.svs", "unopenable.tiff"])
@pytest.mark.parametrize("backend", [None, "tiff", "openslide"])
def test_broken_files(real_data, name, backend):
    line = refusal(real_data / "broken" / name, Box(0, 0, 16, 16), backend)
    assert line.startswith(f"{name}: ")
    assert "\n" not in line


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_slide_cut_short(real_data, tmp_path, share):
    content = (real_data / SVS).read_bytes()
    path = tmp_path / "cut.svs"
    path.write_bytes(content[: int(len(content) * share)])
    line = refusal(path, Box(0, 0, 2220, 2967))
    assert line.startswith("cut.svs: ")
    assert "\n" not in line
