"""Grey DICOM pictures: equal to pydicom's own pixels, and nothing believed that is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLosslessSV1

from wsikit.errors import SlideError
from wsikit.phantoms.mammogram_sets import write_cbis_ddsm_tree
from wsikit.slides.grey_dicom import read_grey_dicom

SAMPLE = "mammo/cbis_ddsm_sample"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_cbis_ddsm_tree(tmp_path_factory.mktemp("cbis"), 5).rglob("*.dcm"))


def test_pixels_are_pydicoms_and_monochrome1_is_inverted(files: list[Path]) -> None:
    kinds = set()
    for path in files:
        dataset = pydicom.dcmread(path)
        kinds.add((dataset.PhotometricInterpretation, dataset.BitsStored))
        found = read_grey_dicom(path)
        theirs = dataset.pixel_array.astype(np.int64)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            theirs = (1 << dataset.BitsStored) - 1 - theirs
        np.testing.assert_array_equal(found.pixels, theirs)
        assert found.max_value == (1 << dataset.BitsStored) - 1
    assert kinds == {("MONOCHROME1", 16), ("MONOCHROME2", 16), ("MONOCHROME2", 8)}


def test_real_crops_keep_all_sixteen_bits(real_data: Path) -> None:
    paths = sorted((real_data / SAMPLE).rglob("*.dcm"))
    assert len(paths) == 3
    for path in paths:
        found = read_grey_dicom(path)
        np.testing.assert_array_equal(found.pixels, pydicom.dcmread(path).pixel_array)
        assert found.max_value == 65535
        assert found.pixels.max() > 4095
        assert found.mpp is None  # the files state none


def changed(files: list[Path], tmp_path: Path, **values: object) -> Path:
    dataset = pydicom.dcmread(files[0])
    for name, value in values.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path = tmp_path / "changed.dcm"
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"PixelData": None}, "without pixels"),
        ({"Rows": 60000, "Columns": 60000}, "a sensible size"),
        ({"Rows": 5000}, "bytes of pixels"),
        ({"NumberOfFrames": 3}, "not one grey picture"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "not one grey picture"),
        ({"PixelRepresentation": 1}, "signed"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 of 32 bits"),
        ({"Rows": None}, "does not state its Rows"),
    ],
)
def test_what_is_no_grey_picture_is_one_line(
    files: list[Path], tmp_path: Path, values: dict[str, object], words: str
) -> None:
    with pytest.raises(SlideError, match=words) as raised:
        read_grey_dicom(changed(files, tmp_path, **values))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, JPEGLosslessSV1])
def test_compressed_files_are_refused_before_they_are_read(
    files: list[Path], tmp_path: Path, syntax: str
) -> None:
    data = files[0].read_bytes()
    old = b"1.2.840.10008.1.2\0"
    start = data.index(old)
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    group = int.from_bytes(data[140:144], "little") + len(new) - len(old)
    made = data[:140] + group.to_bytes(4, "little") + data[144 : start - 2]
    made += len(new).to_bytes(2, "little") + new + data[start + len(old) :]
    path = tmp_path / "compressed.dcm"
    path.write_bytes(made)
    with pytest.raises(SlideError, match="compressed"):
        read_grey_dicom(path)


def test_what_is_no_dicom_is_said_without_a_parsers_words(tmp_path: Path) -> None:
    (tmp_path / "other.dcm").write_bytes(b"not DICOM")
    with pytest.raises(SlideError) as raised:
        read_grey_dicom(tmp_path / "other.dcm")
    assert raised.value.what == "other.dcm: not a DICOM file"


@pytest.mark.parametrize("data", [b"", b"not DICOM", b"\0" * 128 + b"DICM", b"\xff" * 4000])
def test_other_files_are_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.dcm"
    path.write_bytes(data)
    with pytest.raises(SlideError, match=r"other\.dcm") as raised:
        read_grey_dicom(path)
    assert "\n" not in str(raised.value)


def test_cut_files_are_one_line(files: list[Path], tmp_path: Path) -> None:
    data = files[0].read_bytes()
    for length in (150, 300, 500, len(data) // 2):
        path = tmp_path / "cut.dcm"
        path.write_bytes(data[:length])
        with pytest.raises(SlideError):
            read_grey_dicom(path)
