from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.heatmap.viewer.made_subject import MPP, SIDE, SIZE, slide_pixels, subject
from wsikit.errors import SlideError, UsageError
from wsikit.heatmap.viewer.page import render
from wsikit.heatmap.viewer.write import write_folder, write_single_file
from wsikit.types import Box, Mpp

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u2028\x00"


class Page(HTMLParser):
    """Count elements and hold what lies in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = str(dict(attrs)["content"])

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and self.scripts:
            attrs, before = self.scripts[-1]
            self.scripts[-1] = (attrs, before + data)

    def handle_endtag(self, tag: str) -> None:
        self.tags.append("/" + tag)


def data_of(page: Path) -> dict:
    (text,) = (t for a, t in Page(page.read_text("utf-8")).scripts if a.get("id") == "data")
    return json.loads(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "ph"
    write_folder(path, subject())
    return path


def test_the_folder_holds_all_that_the_page_shows(folder: Path):
    data = data_of(folder / "index.html")
    assert data["picture"]["size"] == [1500, 782]
    levels = sorted(int(p.name) for p in (folder / "tiles").iterdir())
    assert levels == list(range(data["picture"]["levels"]))
    assert len(list((folder / "patches").iterdir())) == 40
    assert data["inline"] is None


def test_a_patch_is_kept_at_the_resolution_the_model_read(folder: Path):
    scores = subject().layers[0].scores
    x, y = scores.xy_l0[scores.values.argmax()].tolist()
    with Image.open(folder / "patches" / f"{x}_{y}_{SIDE.width}x{SIDE.height}.jpg") as picture:
        kept = np.asarray(picture).astype(int)
    cut = slide_pixels()[y : y + SIDE.height, x : x + SIDE.width]
    assert kept.shape[:2] == (round(SIDE.height * 0.46 / 0.5), 128)
    expected = Image.fromarray(cut).resize(kept.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(kept - np.asarray(expected)).mean() < 4


def test_equal_input_gives_equal_files(folder: Path, tmp_path: Path):
    write_folder(tmp_path / "again", subject())
    made = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    again = tmp_path / "again"
    assert made == {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()}


def test_what_fails_half_way_leaves_the_old_page(tmp_path: Path):
    (tmp_path / "ph").mkdir()
    (tmp_path / "ph" / "index.html").write_text("old")

    def broken(region: Box, mpp: Mpp) -> np.ndarray:
        raise SlideError("ph.tiff: damaged")

    with pytest.raises(SlideError):
        write_folder(tmp_path / "ph", subject(read=broken))
    assert [p.name for p in tmp_path.iterdir()] == ["ph"]
    assert (tmp_path / "ph" / "index.html").read_text() == "old"
    write_folder(tmp_path / "ph", subject())
    assert [p.name for p in tmp_path.iterdir()] == ["ph"]
    assert data_of(tmp_path / "ph" / "index.html")["slide"]["id"] == "ph"


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path: Path):
    for name in (".ph.old.new", ".ph.young.new", ".other.old.new"):
        (tmp_path / name / "tiles").mkdir(parents=True)
    for name in (".ph.old.new", ".other.old.new"):
        os.utime(tmp_path / name, (0, 0))
    write_folder(tmp_path / "ph", subject())
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.old.new", ".ph.young.new", "ph"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*file"):
        write_folder(tmp_path / "file" / "ph", subject())


def test_a_single_file_holds_its_pictures(tmp_path: Path, folder: Path):
    mpp = write_single_file(tmp_path / "ph.html", subject(), 3_000_000)
    assert mpp == 1.0
    inline = data_of(tmp_path / "ph.html")["inline"]
    beside = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*.jpg")}
    assert inline.keys() == beside.keys()
    for name, text in inline.items():
        assert base64.b64decode(text) == beside[name].read_bytes()


def test_a_single_file_is_made_coarser_to_fit(tmp_path: Path):
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 255, (SIZE.height, SIZE.width, 3), np.uint8)
    picture = Image.fromarray(noisy)

    def read(region: Box, mpp: Mpp) -> np.ndarray:
        size = (round(region.width * MPP.x / mpp.x), round(region.height * MPP.y / mpp.y))
        box = (region.x, region.y, region.x + region.width, region.y + region.height)
        box = (*box[:2], min(box[2], SIZE.width), min(box[3], SIZE.height))
        return np.asarray(picture.resize(size, Image.Resampling.NEAREST, box=box))

    most = 1_000_000
    mpp = write_single_file(tmp_path / "a.html", subject(read=read), most)
    assert mpp > 1.0
    assert (tmp_path / "a.html").stat().st_size <= most
    data = data_of(tmp_path / "a.html")
    assert data["picture"]["mpp"] == mpp
    assert f"The picture holds {mpp:.3g} µm per pixel" in (tmp_path / "a.html").read_text("utf-8")
    with pytest.raises(UsageError, match=r"does not fit into one HTML file of 0\.4 MB"):
        write_single_file(tmp_path / "b.html", subject(read=read), 400_000)
    assert not (tmp_path / "b.html").exists()


def test_a_tiny_slide_fits(tmp_path: Path):
    small = subject(size_l0=SIZE._replace(width=100, height=90), truth=None)
    assert write_single_file(tmp_path / "a.html", small, 2_000_000) == 1.0


def test_coarse_pixels_are_not_called_what_the_model_read(tmp_path: Path):
    write_folder(tmp_path / "ph", subject(finest=Mpp(2.0, 2.0)))
    data = data_of(tmp_path / "ph" / "index.html")
    assert data["picture"]["mpp"] == 2.0
    assert not (tmp_path / "ph" / "patches").exists()
    assert "enlarged from the picture" in (tmp_path / "ph" / "index.html").read_text("utf-8")


def test_a_name_cannot_leave_its_place(tmp_path: Path):
    layers = [subject().layers[0], subject().layers[1]]
    layers = [type(layers[0])(HOSTILE, layer.scores) for layer in layers]
    write_folder(tmp_path / "ph", subject(slide_id=HOSTILE, layers=layers))
    page = Page((tmp_path / "ph" / "index.html").read_text("utf-8"))
    assert len(page.scripts) == 3
    assert "img" not in page.tags
    data = data_of(tmp_path / "ph" / "index.html")
    assert data["slide"]["id"] == HOSTILE
    assert [layer["name"] for layer in data["layers"]] == [HOSTILE, HOSTILE]


def test_only_the_two_packaged_scripts_may_run():
    page = Page(render("a", [], {}))
    known = re.findall(r"'sha256-([^']+)'", page.policy)
    runnable = [text for attrs, text in page.scripts if attrs.get("type") is None]
    hashes = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in runnable]
    assert known == hashes
    assert "default-src 'none'" in page.policy
    assert "http" not in page.policy
    assert "unsafe-inline" not in page.policy.partition("script-src")[2]


def test_the_packaged_library_is_the_released_file():
    assets = files("wsikit.heatmap.viewer").joinpath("assets")
    told = assets.joinpath("README.md").read_text("utf-8")
    content = assets.joinpath("openseadragon.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() in told
    assert b"openseadragon 6.1.1" in content
    assert "OpenSeadragon contributors" in assets.joinpath("openseadragon.LICENSE.txt").read_text()


def test_tiles_are_jpeg(folder: Path):
    for tile in (folder / "tiles").rglob("*.jpg"):
        with Image.open(io.BytesIO(tile.read_bytes())) as picture:
            assert picture.format == "JPEG"


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"No space left on device: make room"):
        write_folder(tmp_path / "p", subject())
    assert list(tmp_path.iterdir()) == []
