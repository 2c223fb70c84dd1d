from __future__ import annotations

import hashlib

import pytest

from wsikit.errors import SlideError
from wsikit.slides.fingerprint import fingerprint, quick_stamp


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)


def test_one_file_is_its_sha256(tmp_path):
    content = bytes(range(256)) * 9000
    write(tmp_path, a_svs=content, b_svs=b"other")
    assert fingerprint(tmp_path / "a.svs") == hashlib.sha256(content).hexdigest()
    assert [size for size, _ in quick_stamp(tmp_path / "a.svs")] == [len(content)]


@pytest.mark.parametrize("changed", ["s.mrxs", "s/Slidedat.ini", "s/deep/Data.dat"])
def test_mrxs_goes_with_its_folder(tmp_path, changed):
    write(tmp_path, s_mrxs=b"index", other_mrxs=b"x")
    write(tmp_path / "s", Slidedat_ini=b"ini")
    write(tmp_path / "s" / "deep", Data_dat=b"data")
    slide = tmp_path / "s.mrxs"
    before, stamp = fingerprint(slide), quick_stamp(slide)
    assert len(stamp) == 3
    (tmp_path / "other.mrxs").write_bytes(b"y")
    assert fingerprint(slide) == before
    (tmp_path / changed).write_bytes(b"longer than before")
    assert fingerprint(slide) != before
    assert quick_stamp(slide) != stamp


def test_a_dicom_folder_is_all_its_files(tmp_path):
    write(tmp_path / "d", b_dcm=b"2", a_dcm=b"1", notes_txt=b"n")
    digests = b"".join(hashlib.sha256(c).digest() for c in (b"1", b"2"))
    expected = hashlib.sha256(digests).hexdigest()
    assert fingerprint(tmp_path / "d") == expected
    assert fingerprint(tmp_path / "d" / "b.dcm") == expected


def test_vms_goes_with_the_files_it_names(tmp_path):
    index = b"[Virtual Microscope Specimen]\nImageFile=a.jpg\nMapFile=m.jpg\nOther=../out.jpg\n"
    write(tmp_path, s_vms=index, a_jpg=b"1", m_jpg=b"2", z_jpg=b"3")
    assert len(quick_stamp(tmp_path / "s.vms")) == 3


def test_what_is_missing(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("none.svs", "empty"):
        with pytest.raises(SlideError, match=name):
            fingerprint(tmp_path / name)
    with pytest.raises(SlideError, match=r"none\.svs"):
        quick_stamp(tmp_path / "none.svs")
