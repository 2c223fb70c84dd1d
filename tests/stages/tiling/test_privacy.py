"""What must not leave a real slide's file: label and macro, and what it says of people."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from skimage.transform import resize

from wsikit.config import load_config
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile

SEGMENT_PX = 24
"""Neighbouring pixels that two pictures do not share by chance, where they vary."""

ALLOWED = {"MPP", "AppMag"}


@pytest.fixture(scope="module")
def svs(real_data: Path) -> Path:
    return real_data / "slides" / "cmu-1-small-region.svs"


@pytest.fixture(scope="module")
def store(svs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real slide tiled without loss, from a folder and file that name a patient."""
    folder = tmp_path_factory.mktemp("archive") / "Doe^John_1960-02-03"
    folder.mkdir()
    shutil.copyfile(svs, folder / "H12-3456 Doe.svs")
    (folder / "cohort.csv").write_text("slide,slide_id\nH12-3456 Doe.svs,one\n")
    store = tmp_path_factory.mktemp("out") / "store"
    settings = ["tile.size=256", "tile.codec.name=zstd", "tile.stain.method=none",
                "tile.min_foreground=0"]  # fmt: skip
    outcome = run_tile(
        source_slides([folder / "cohort.csv"]), store, load_config(None, settings).tile
    )
    assert outcome.done == ["one"]
    return store


def stored_pictures(store: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every array of pixels in the store as (H, W, 3)."""
    for path in sorted((store / "slides").rglob("zarr.json")):
        node = zarr.open(path.parent, mode="r")
        if isinstance(node, zarr.Array) and node.ndim == 3 and 3 in (node.shape[0], node.shape[2]):
            pixels = np.asarray(node)
            yield str(path), pixels if pixels.shape[2] == 3 else np.moveaxis(pixels, 0, 2)


def segments(picture: np.ndarray, count: int = 16) -> list[bytes]:
    """Cut the rows of a picture that vary most into runs of `SEGMENT_PX` pixels."""
    rows, cols = picture.shape[0], picture.shape[1] // SEGMENT_PX
    runs = picture[:, : cols * SEGMENT_PX].reshape(rows * cols, SEGMENT_PX * 3)
    liveliest = np.argsort(runs.std(axis=1))[-count:]
    return [runs[i].tobytes() for i in liveliest]


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlate two pictures at 48 x 48, whatever their sizes; at best of the eight turns."""
    small = [resize(p[::4, ::4].mean(axis=2), (48, 48), anti_aliasing=True) for p in (a, b)]
    turned = [np.rot90(flip, k) for flip in (small[1], small[1].T) for k in range(4)]
    return max(float(np.corrcoef(small[0].ravel(), t.ravel())[0, 1]) for t in turned)


def test_no_picture_of_label_or_macro(svs: Path, store: Path) -> None:
    with tifffile.TiffFile(svs) as tiff:
        slide, _, label, macro = (page.asarray() for page in tiff.pages)
    pictures = dict(stored_pictures(store))
    assert len(pictures) >= 2  # the image and its thumbnail
    content = [np.ascontiguousarray(p).tobytes() for p in pictures.values()]
    crop = slide[300:900, 300:900]
    assert any(run in data for data in content for run in segments(crop))  # the search finds
    for associated in (label, macro):
        for run in segments(associated):
            assert not any(run in data for data in content)
    assert max(likeness(slide, p) for p in pictures.values()) > 0.9
    for associated in (label, macro):
        assert max(likeness(associated, p) for p in pictures.values()) < 0.6


def test_nothing_the_header_says_of_people_or_places(svs: Path, store: Path) -> None:
    with tifffile.TiffFile(svs) as tiff:
        description = tiff.pages.first.description
    stated = dict(re.findall(r"\|([^=|]+?) = ([^|]*)", description))
    assert {"ScanScope ID", "Filename", "Date", "Time", "User", "ImageID"} <= stated.keys()
    secrets = {value for key, value in stated.items() if key not in ALLOWED and len(value) > 4}
    secrets |= {key for key in stated if key not in ALLOWED and len(key) > 4}
    secrets |= {"Aperio Image Library", "CMU-1", "Doe", "H12-3456", "1960-02-03", "archive", ".svs"}
    for file in (p for p in store.rglob("*") if p.is_file()):
        assert not [s for s in secrets if s in str(file.relative_to(store))]
        data = file.read_bytes()
        for secret in secrets:
            assert secret.encode() not in data, (file.name, secret)
            assert secret.encode("utf-16-le") not in data, (file.name, secret)
