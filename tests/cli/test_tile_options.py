"""The options of `wsikit tile`, from the command line, on slides whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from tests.cli.conftest import Wsikit
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.slides.open import open_slide
from wsikit.store.store import Store
from wsikit.types import Box, Mpp, Size


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scanners' phantoms of the same tissue, several levels each."""
    folder = tmp_path_factory.mktemp("slides")
    for name, scanner in (("a", "aurora"), ("b", "dune")):
        spec = PhantomSpec(name, Size(2400, 1800), Mpp(0.5, 0.5), 3, True, scanner)
        write_phantom(spec, folder / f"{name}.tiff")
    return folder


def test_a_level_in_place_of_mpp(wsikit: Wsikit, slides: Path, tmp_path: Path) -> None:
    sets = ("--set", "tile.size=64", "--set", "tile.stain.method=none", "--set",
            "tile.codec.name=zstd", "--set", "tile.level=1", "-j", "1")  # fmt: skip
    assert wsikit("tile", slides / "a.tiff", "-o", tmp_path / "s", *sets).code == 0
    stored = Store(tmp_path / "s").slide("a")
    with open_slide(slides / "a.tiff") as slide:
        down = slide.levels[1].downsample
        assert stored.grid.scale == down
        row, col = int(stored.patches.row[0]), int(stored.patches.col[0])
        pixels = slide.read_level(1, col * 64, row * 64, 64, 64)
    np.testing.assert_array_equal(stored.read_patch(0), pixels)
    assert (stored.patches.x[0], stored.patches.y[0]) == (col * 64 * down[0], row * 64 * down[1])
    answer = wsikit("tile", slides / "a.tiff", "-o", tmp_path / "t", "--set", "tile.level=9")
    assert answer.code == 1
    assert "none is number 9" in answer.err


def test_a_slide_as_the_reference_brings_the_other_to_it(
    wsikit: Wsikit, slides: Path, tmp_path: Path
) -> None:
    sets = ("--set", "tile.size=128", "--set", "tile.codec.name=zstd", "-j", "1")

    def tissue_mean(store: Path, slide_id: str) -> np.ndarray:
        slide = Store(store).slide(slide_id)
        pixels = np.concatenate([slide.read_patch(i) for i in range(len(slide.patches))])
        return pixels[(pixels <= 200).any(axis=2)].mean(axis=0)

    plain = (*sets, "--set", "tile.stain.method=none")
    assert wsikit("tile", slides, "-o", tmp_path / "plain", *plain).code == 0
    answer = wsikit("tile", slides, "-o", tmp_path / "s", *sets, "--reference", slides / "a.tiff")
    assert answer.code == 0, answer.err
    own = tissue_mean(tmp_path / "plain", "a")
    before = np.abs(tissue_mean(tmp_path / "plain", "b") - own).max()
    after = np.abs(tissue_mean(tmp_path / "s", "b") - own).max()
    assert after < 0.35 * before
    assert np.abs(tissue_mean(tmp_path / "s", "a") - own).max() < 2  # it is its own reference
    again = wsikit("tile", slides, "-o", tmp_path / "s", *sets, "--reference", slides / "a.tiff")
    assert "2 already done" in again.err
    kept = tmp_path / "s" / "stain_reference.json"
    from_file = wsikit("tile", slides, "-o", tmp_path / "s", *sets, "--reference", kept)
    assert "2 already done" in from_file.err
    other = wsikit("tile", slides, "-o", tmp_path / "s", *sets)
    assert other.code == 2
    assert "another recipe (reference:" in other.err


def test_a_reference_that_shows_no_tissue_is_one_line(
    wsikit: Wsikit, slides: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (600, 500), (244, 243, 245)).save(tmp_path / "glass.png")
    answer = wsikit(
        "tile", slides / "a.tiff", "-o", tmp_path / "s", "--reference", tmp_path / "glass.png",
        "--mpp", "0.5",
    )  # fmt: skip
    assert answer.code == 2
    assert "glass.png: a reference slide needs 1000 pixels of tissue" in answer.err
    assert not (tmp_path / "s").exists()


def test_a_patch_out_of_focus_is_dropped_and_said(wsikit: Wsikit, tmp_path: Path) -> None:
    """The left half of a phantom is blurred by 3 um; a coarse look sees no difference."""
    spec = PhantomSpec("p", Size(2048, 1536), Mpp(0.5, 0.5), 5, False, "aurora")
    write_phantom(spec, tmp_path / "p.tiff")
    with open_slide(tmp_path / "p.tiff") as slide:
        pixels = slide.read(Box(0, 0, 2048, 1536))
    blurred = ndimage.gaussian_filter(pixels[:, :1024].astype(float), (6, 6, 0))
    pixels[:, :1024] = blurred.round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    call = ("tile", tmp_path / "half.png", "--mpp", "0.5", "--set", "tile.size=256", "-j", "1")
    assert wsikit(*call, "-o", tmp_path / "s").code == 0
    assert wsikit(*call, "-o", tmp_path / "all", "--set", "tile.tissue.blur=0").code == 0
    stored, everything = (Store(tmp_path / name).slide("half") for name in ("s", "all"))
    assert len(everything.patches) > len(stored.patches)
    columns = set(stored.patches.col.tolist())
    assert columns
    assert min(columns) >= 4
    answer = wsikit("inspect", tmp_path / "s", "--slide", "half", "--patches", "--json")
    listed = json.loads(answer.out)
    dropped = [patch for patch in listed["patches"] if patch["reason"] == "blur"]
    assert {patch["col"] for patch in dropped} == {0, 1, 2, 3} & {p["col"] for p in dropped}
    assert len(dropped) + len(stored.patches) == len(everything.patches)


def test_a_preview_is_drawn_once_and_later_on_demand(
    wsikit: Wsikit, slides: Path, tmp_path: Path
) -> None:
    call = ("tile", slides / "a.tiff", "-o", tmp_path / "s", "--set", "tile.size=128", "-j", "1")
    assert wsikit(*call).code == 0
    path = tmp_path / "s" / "previews" / "a.png"
    assert not path.exists()
    assert wsikit(*call, "--preview").code == 0
    first = path.read_bytes()
    with Image.open(path) as picture:
        assert picture.size[0] > 800
    stamp = path.stat().st_mtime_ns
    assert wsikit(*call, "--preview").code == 0
    assert (path.stat().st_mtime_ns, path.read_bytes()) == (stamp, first)
