"""The cohort CSV: what is understood, and how each mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsikit.errors import CohortError, UsageError
from wsikit.stages.cohort import parse_mpp, read_cohort, source_slides
from wsikit.types import Mpp


def write(folder: Path, text: str) -> Path:
    path = folder / "cohort.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_full_table(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufeffslide, slide_id ,patient_id,label,mpp\n"
        "a/one.svs,s1,p1,tumour,0.25\n"
        "b/two.ome.tiff,s2,,normal,0.5 0.49\n",
    )
    table = read_cohort(path)
    assert table["slide_id"].tolist() == ["s1", "s2"]
    assert table["patient_id"].tolist() == ["p1", "s2"]
    slides = source_slides([path], Mpp(1, 1))
    assert [s.path for s in slides] == [tmp_path / "a/one.svs", tmp_path / "b/two.ome.tiff"]
    assert [s.mpp for s in slides] == [Mpp(0.25, 0.25), Mpp(0.5, 0.49)]


def test_ids_come_from_file_names(tmp_path: Path) -> None:
    path = write(tmp_path, "slide\nx/Fall 12.svs\ny/b.ome.tiff\n")
    assert read_cohort(path)["slide_id"].tolist() == ["Fall_12", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Slides,label\na.svs,1\n", "column 'slide' is missing (is 'Slides' meant?)"),
        ("path,label\na.svs,1\n", "column 'slide' is missing; it has path, label"),
        ("slide,label\n", "the table has no rows"),
        ("", "the file is empty"),
        ("slide;label\na.svs;1\n", "parted by semicolons"),
        ("slide,label\na.svs,1,x\n", "line 2: 3 fields where the header has 2"),
        ("slide,label\n\na.svs\n", "line 3: 1 fields where the header has 2"),
        ("slide,label\n,1\n", "line 2: 'slide' is empty"),
        ("slide,slide,label\na,b,1\n", "column 'slide' stands twice"),
        ("slide,slide_id\na.svs,x\nb.svs,x\n", "slide id 'x' stands on lines 2, 3"),
        ("slide\nd/a.svs\ne/a.svs\n", "slide id 'a' stands on lines 2, 3"),
        ("slide,slide_id\na.svs,../x\n", "line 2: slide id '../x' cannot name a file"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CohortError) as caught:
        read_cohort(write(tmp_path, text))
    assert message in str(caught.value)
    assert "cohort.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_blank_id_comes_from_the_path_and_other_encodings_are_named(tmp_path: Path) -> None:
    assert read_cohort(write(tmp_path, "slide,slide_id\na.svs,\n"))["slide_id"].tolist() == ["a"]
    (tmp_path / "latin.csv").write_bytes("slide,label\nä.svs,1\n".encode("latin-1"))
    with pytest.raises(CohortError, match="UTF-8"):
        read_cohort(tmp_path / "latin.csv")


def test_an_absent_table(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="No such file"):
        read_cohort(tmp_path / "none.csv")


def test_tiling_needs_paths(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="column 'slide' is missing"):
        source_slides([write(tmp_path, "slide_id,label\na,1\n")])


def test_two_files_of_one_name_clash(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.tiff").touch()
    with pytest.raises(CohortError, match="would both be slide 'a'"):
        source_slides([tmp_path])


def test_a_csv_stands_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stands alone"):
        source_slides([write(tmp_path, "slide\na.svs\n"), tmp_path])


@pytest.mark.parametrize(
    ("text", "mpp"),
    [("", None), ("0.25", Mpp(0.25, 0.25)), ("0.5 0.49", Mpp(0.5, 0.49)), ("1,2", Mpp(1, 2))],
)
def test_mpp_is_one_number_or_two(text: str, mpp: Mpp | None) -> None:
    assert parse_mpp(text, "--mpp") == mpp


@pytest.mark.parametrize("text", ["fast", "1 2 3", "0,25 um", "nan", "inf 1"])
def test_a_wrong_mpp_is_named(text: str) -> None:
    with pytest.raises(CohortError, match="is not a number"):
        parse_mpp(text, "--mpp")
