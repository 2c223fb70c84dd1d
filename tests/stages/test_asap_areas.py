"""ASAP's XML as it is written, as it arrives when something went wrong, and as an attacker's."""

from __future__ import annotations

import contextlib
import gzip
import random
from pathlib import Path

import pytest

from wsikit.errors import SlideError
from wsikit.stages import area_file
from wsikit.stages.asap_areas import read_asap
from wsikit.stages.drawn_areas import placed_areas, read_areas

SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]


def annotation(
    points: list[tuple[float, float]], kind: str = "Polygon", group: str = "None"
) -> str:
    coordinates = "".join(
        f'<Coordinate Order="{n}" X="{x}" Y="{y}" />' for n, (x, y) in enumerate(points)
    )
    return (
        f'<Annotation Name="a" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{coordinates}</Coordinates></Annotation>"
    )


def document(*annotations: str) -> str:
    return (
        '<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>'
        f"{''.join(annotations)}</Annotations><AnnotationGroups /></ASAP_Annotations>"
    )


def written(folder: Path, text: str) -> Path:
    path = folder / "a.xml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_files_of_asap_are_read(real_data: Path) -> None:
    folder = real_data / "annotations" / "asap"
    (polygon,) = read_areas(folder / "asap-polygon.xml").areas
    assert polygon.name == ""
    assert polygon.shape.bounds == (22693.1875, 16551.1797, 23067.4531, 16710.6367)
    assert len(polygon.shape.exterior.coords) == 7
    for name, kind in (("dot", "Dot"), ("pointset", "PointSet")):
        found = read_areas(folder / f"asap-{name}.xml")
        assert (found.areas, found.passed_over) == ((), {kind: 1})


def test_shapes_groups_and_what_has_no_area(tmp_path: Path) -> None:
    found = read_asap(
        written(
            tmp_path,
            document(
                annotation(SQUARE, group=" Tumor "),
                annotation(SQUARE, "Rectangle", "_2"),
                annotation(SQUARE, "Spline"),
                annotation(SQUARE[:2], "Measurement"),
                annotation(SQUARE[:2]),
                annotation([(1, 1)] * 5),
            ),
        )
    )
    assert [(area.name, area.shape.area) for area in found.areas] == [
        ("Tumor", 100), ("_2", 100), ("", 100),
    ]  # fmt: skip
    assert found.passed_over == {"Measurement": 1, "empty polygon": 2}
    assert found.offset_l0 == (0, 0)  # a viewer's corner changes nothing
    assert placed_areas(found, (500, 300))[0].shape.bounds == (0, 0, 10, 10)


def test_points_are_joined_in_their_order(tmp_path: Path) -> None:
    shuffled = "".join(
        f'<Coordinate Order="{n}" X="{SQUARE[n][0]}" Y="{SQUARE[n][1]}"/>' for n in (2, 0, 3, 1)
    )
    text = document(
        f'<Annotation Type="Polygon"><Coordinates>{shuffled}</Coordinates></Annotation>'
    )
    (area,) = read_asap(written(tmp_path, text)).areas
    assert area.shape.area == 100


def test_a_line_across_itself_encloses_all_it_goes_around(tmp_path: Path) -> None:
    bow = [(0, 0), (10, 10), (10, 0), (0, 10)]
    (area,) = read_asap(written(tmp_path, document(annotation(bow)))).areas
    assert area.shape.is_valid
    assert area.shape.area == 50


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1 if n else str()};" * 10}">' for n in range(9))
    + "]><ASAP_Annotations>&a8;</ASAP_Annotations>"
)
OUTSIDE = (
    '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    "<ASAP_Annotations>&x;</ASAP_Annotations>"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not XML"),
        ("{}", "not XML"),
        ("<ASAP_Annotations>", "not XML .no element found, line 1"),
        (document()[:-4], "not XML"),
        ('<?xml version="1.0" encoding="klingon"?><ASAP_Annotations/>', "encoding"),
        ("<Annotations/>", "not of ASAP .it begins with 'Annotations'"),
        ("<html><body/></html>", "not of ASAP"),
        ("<!DOCTYPE html><html/>", "declares a document type"),
        (BOMB, "declares a document type"),
        (OUTSIDE, "declares a document type"),
        (document(annotation([(0, 0), (float("nan"), 1), (2, 2)])), "annotation 1: a coordinate"),
        (document(annotation([(0, 0), (float("inf"), 1), (2, 2)])), "annotation 1: a coordinate"),
        (document(annotation(SQUARE), annotation([(1e12, 0), *SQUARE])), "annotation 2"),
        (document(annotation(SQUARE).replace('X="10"', 'X="ten"', 1)), "no number"),
        (document(annotation(SQUARE).replace('X="10"', "", 1)), "no number"),
        (document(annotation(SQUARE).replace("<Coordinates>", "<Annotation>", 1)), "not XML|holds"),
    ],
)
def test_a_bad_file_is_one_line_with_file_fault_and_fix(
    tmp_path: Path, text: str, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SlideError, match=message) as caught:
        read_asap(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    assert "hostname" not in line
    assert caught.value.fix


def test_its_size_is_bounded_unpacked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "a.xml.gz"
    packed.write_bytes(gzip.compress(document(annotation(SQUARE)).encode()))
    assert len(read_areas(packed).areas) == 1
    monkeypatch.setattr(area_file, "MOST_BYTES", 100)
    with pytest.raises(SlideError, match="more than 0 MB"):
        read_areas(packed)


def test_a_damaged_copy_never_crashes(real_data: Path, tmp_path: Path) -> None:
    """Seeded bit flips and truncations: an answer, or one line."""
    source = (real_data / "annotations" / "asap" / "asap-polygon.xml").read_bytes()
    rng = random.Random(0)
    path = tmp_path / "mutant.xml"
    for _ in range(300):
        data = bytearray(source[: rng.randrange(1, len(source))] if rng.random() < 0.3 else source)
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with contextlib.suppress(SlideError):
            read_asap(path)
