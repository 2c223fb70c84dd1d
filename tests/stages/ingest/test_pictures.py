"""Any pictures: folders are labels, a CSV says the rest, and depth is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsikit.errors import CohortError, UsageError
from wsikit.stages.ingest.ingest import ingest
from wsikit.stages.ingest.pictures import PicturesOptions, find_pictures
from wsikit.store.store import Store
from wsikit.types import Mpp, Size


def made(path: Path, seed: int, width: int = 30, height: int = 20) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def test_a_folder_of_folders(tmp_path: Path) -> None:
    first = made(tmp_path / "in/cat/p1_a.png", 1)
    made(tmp_path / "in/dog/p2_a.png", 2)
    made(tmp_path / "in/dog/large.png", 3, 60, 20)
    (tmp_path / "in/notes.txt").write_text("x")
    found = find_pictures(tmp_path / "in", PicturesOptions(patient=r"^(p\d)", mpp=Mpp(0.5, 0.5)))
    done = ingest(found, tmp_path / "store")
    cohort = pd.read_csv(done.cohort, dtype=str)
    assert cohort.to_dict("list") == {
        "slide_id": ["p1_a", "p2_a"], "patient_id": ["p1", "p2"], "label": ["cat", "dog"],
    }  # fmt: skip
    slide = Store(tmp_path / "store").slide("p1_a")
    np.testing.assert_array_equal(slide.read_patch(0), first)
    assert slide.mpp == (0.5, 0.5)
    lines = [str(entry) for entry in done.left_out]
    assert lines[0].startswith("notes.txt: none of .png")
    assert "60 x 20 px, most are 30 x 20 px: resize them with --size" in lines[1]


def test_a_csv_stacks_pictures_and_resizes_them(tmp_path: Path) -> None:
    for n, width in enumerate((30, 60, 30)):
        made(tmp_path / f"{n}.png", n, width)
    table = tmp_path / "in.csv"
    table.write_text(
        "picture,slide_id,patient_id,label,split\n"
        "0.png,s,p,a,train\n1.png,s,p,a,train\n2.png,t,q,b,val\n"
    )
    found = find_pictures(table, PicturesOptions(size=Size(15, 10)))
    done = ingest(found, tmp_path / "store")
    slide = Store(tmp_path / "store").slide("s")
    assert (len(slide.patches), slide.patch_size) == (2, (15, 10))
    theirs = np.asarray(Image.open(tmp_path / "0.png").resize((15, 10), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(slide.read_patch(0), theirs)
    assert pd.read_csv(done.cohort)["split"].tolist() == ["train", "val"]


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30), dtype=np.uint16)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    ingest(find_pictures(tmp_path / "in", PicturesOptions(grey=True)), tmp_path / "store")
    slide = Store(tmp_path / "store").slide("a")
    np.testing.assert_array_equal(slide.read_patch(0)[..., 0], pixels)
    assert slide.max_value == 65535


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file\na.png\n", "column 'picture' is missing"),
        ("picture,slide_id,label\na.png,s,x\nb.png,s,y\n", "has another label"),
        ("picture,slide_id\na.png,../s\n", "cannot name a file"),
        ("picture,mpp\na.png,fine\n", "is not a number"),
    ],
)
def test_a_wrong_csv_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    table = tmp_path / "in.csv"
    table.write_text(text)
    with pytest.raises(CohortError, match=words):
        find_pictures(table)


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder or file"):
        find_pictures(tmp_path / "absent")
    made(tmp_path / "a.png", 1)
    with pytest.raises(UsageError, match="--patient"):
        find_pictures(tmp_path, PicturesOptions(patient="("))
