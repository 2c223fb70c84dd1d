"""mini-MIAS: circles counted from the bottom left of 1024 px land on lesions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsikit.errors import UsageError
from wsikit.phantoms.mammogram_sets import write_mini_mias
from wsikit.stages.ingest.ingest import IngestOptions, ingest
from wsikit.stages.ingest.mammogram import CutOptions
from wsikit.stages.ingest.mini_mias import (
    MiniMiasOptions,
    find_mini_mias,
    lesion_box,
    patient_of,
    read_findings,
)
from wsikit.store.store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini_mias(tmp_path_factory.mktemp("mias"), 8, 256)


def test_a_circle_is_turned_upside_down_and_halved() -> None:
    assert lesion_box((535, 425, 197), 512, 512) == (169.0, 201.0, 197.0, 197.0)
    assert lesion_box((535, 425, 197), 1024, 1024) == (338, 402, 394, 394)


def test_rois_and_their_labels(folder: Path, tmp_path: Path) -> None:
    options = MiniMiasOptions(CutOptions("rois", side=64))
    done = ingest(find_mini_mias(folder, options), tmp_path / "store", IngestOptions())
    cohort = pd.read_csv(done.cohort, dtype=str).set_index("slide_id")
    assert cohort["label"].to_dict() == {
        "mdb003_1": "benign", "mdb004_1": "benign", "mdb005_1": "malignant",
        "mdb006_1": "malignant",
    }  # fmt: skip
    assert [str(e) for e in done.left_out] == [
        "mdb007_1: the table lacks its centre, radius or severity"
    ]
    slide = Store(tmp_path / "store").slide("mdb005_1")
    assert (slide.is_grey, slide.max_value) == (True, 255)
    x, y, width, height = slide.pictures[0]["boxes"][0]
    assert (x + width / 2, y + height / 2) == pytest.approx((32, 32), abs=1.5)
    scale = slide.pictures[0]["scale"]
    assert slide.mpp.x == pytest.approx(800 * scale, rel=1e-6)  # 200 um at 1024 px, here 256
    picture = slide.read_patch(0)[..., 0].astype(float)
    assert picture[28:36, 28:36].mean() > 1.3 * picture[[0, -1]].mean()


def test_whole_pictures_are_normal_or_abnormal(folder: Path, tmp_path: Path) -> None:
    options = MiniMiasOptions(CutOptions("whole", side=128), split="images")
    found = find_mini_mias(folder, options)
    ingest(found, tmp_path / "store")
    labels = {s.slide_id: s.label for s in found.sources}
    normal = ["mdb001", "mdb002", "mdb008"]
    assert [i for i, label in labels.items() if label == "normal"] == normal
    assert "LEAKY" in found.split
    assert patient_of("mdb001") == patient_of("mdb002") != patient_of("mdb003")
    slide = Store(tmp_path / "store").slide("mdb006")
    ((x, y, width, height),) = slide.pictures[0]["boxes"]
    picture = slide.read_patch(0)[..., 0].astype(float)
    inside = picture[round(y) : round(y + height), round(x) : round(x + width)]
    assert inside.max() == picture.max()


def test_the_information_file_says_the_same_as_the_table(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "mammo" / "mini_mias"
    table, left_out = read_findings(folder)
    assert not left_out
    (tmp_path / "Info.txt").write_bytes((folder / "Info.txt").read_bytes())
    text, _ = read_findings(tmp_path)
    named = {finding.name for finding in table}
    theirs = [finding for finding in text if finding.name in named]
    assert {f.name for f in theirs} == named
    assert [f.circle for f in theirs if f.circle] == [f.circle for f in table if f.circle]


def test_real_circles_stand_out_more_than_their_mirror_images(real_data: Path) -> None:
    """Masses are brighter than what is around them; anywhere else nothing is."""
    folder = real_data / "mammo" / "mini_mias"
    findings, _ = read_findings(folder)
    brighter = []
    for finding in findings:
        if finding.circle is None or finding.kind not in ("CIRC", "SPIC"):
            continue
        image = np.asarray(Image.open(folder / f"{finding.name}.png"), float)
        x, y, radius = finding.circle
        if radius < 80 and abs(y - 512) > 2 * radius:
            here, there = (_contrast(image, (x, at, radius)) for at in (y, 1024 - y))
            brighter.append(here > there)
    assert len(brighter) > 10
    assert np.mean(brighter) > 0.7


def _contrast(image: np.ndarray, circle: tuple[int, int, int]) -> float:
    x, y, radius = circle
    rows, cols = np.mgrid[0:512, 0:512]
    far = np.hypot(cols - x / 2, rows - (1024 - y) / 2) / (radius / 2)
    return float(image[far < 0.7].mean() - image[(far > 1.2) & (far < 1.8)].mean())


def test_real_counts(real_data: Path) -> None:
    found = find_mini_mias(real_data / "mammo" / "mini_mias")
    table = pd.read_csv(real_data / "mammo" / "mini_mias" / "labels.csv", dtype=str)
    assert len(found.sources) == table["r"].notna().sum()
    malignant = ((table["Type"] == "M") & table["r"].notna()).sum()
    assert sum(s.label == "malignant" for s in found.sources) == malignant
    whole = find_mini_mias(real_data / "mammo" / "mini_mias", MiniMiasOptions(CutOptions("whole")))
    assert len(whole.sources) == 200
    assert len({s.patient_id for s in whole.sources}) == 100


def test_bad_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither"):
        find_mini_mias(tmp_path)
    rows = (folder / "labels.csv").read_text()
    corner = "mdb003,G,CIRC,B,1000,1010,8\n"  # far from the chest wall, where no breast is
    (tmp_path / "labels.csv").write_text(rows + corner + "mdb900,F,CIRC,B,1,2,3\nfoo,bar\n")
    for path in folder.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "mdb004.png").write_bytes(b"no picture")
    (tmp_path / "scan7.png").write_bytes(b"of something else")
    found = find_mini_mias(tmp_path)
    assert found.broken == {"mdb900": "its picture is missing"}
    done = ingest(found, tmp_path / "store")
    assert "not a grey picture" in done.outcome.failed["mdb004_1"]
    assert str(tmp_path) not in done.outcome.failed["mdb004_1"]  # a path may name a person
    assert "outside the breast" in done.outcome.failed["mdb003_2"]
    assert len(done.outcome.done) == 3
    assert any("line 12" in entry.name for entry in done.left_out)
    assert "scan7.png: not a file name of mini-MIAS" in map(str, done.left_out)
