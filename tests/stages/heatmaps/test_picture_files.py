"""One small dark square on a slide, found again in every picture file by its own coordinates."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from wsikit.config import load_config
from wsikit.errors import SlideError
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import fit_panel, panel_box
from wsikit.stages.cohort import source_slides
from wsikit.stages.heatmaps import contact_sheet, html, ome_tiff, png
from wsikit.stages.heatmaps.pixels import NoPixelsError, slide_files, slide_pixels
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.heatmaps.title import title_of
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Box, Mpp, Size

SIZE = Size(3001, 1803)
MPP = Mpp(0.50, 0.46)
SQUARE = Box(2200, 500, 190, 200)
"""The one dark place, in level-0 px."""

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of pink tissue with one dark square, tiled at 1 um/px into patches of 64 px."""
    folder = tmp_path_factory.mktemp("square")
    rng = np.random.default_rng(0)
    picture = rng.integers(-25, 25, (SIZE.height, SIZE.width, 3)) + np.array([225, 150, 190])
    picture[:60] = picture[:, :150] = 244
    x, y, width, height = (int(side) for side in SQUARE)
    picture[y : y + height, x : x + width] -= np.array([130, 100, 80])
    (folder / "slides").mkdir()
    tifffile.imwrite(
        folder / "slides" / "s.tiff",
        np.clip(picture, 0, 255).astype(np.uint8),
        tile=(256, 256),
        compression="zlib",
        photometric="rgb",
        resolution=(1e4 / MPP.x, 1e4 / MPP.y),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    sets = ["tile.size=64", "tile.mpp=1.0", "tile.stain.method=none", "tile.codec.name=zstd"]
    config = load_config(None, sets).tile
    assert run_tile(source_slides([folder / "slides"]), folder / "store", config).done == ["s"]
    return folder


def heatmap_of(folder: Path, files: bool = True, *sets: str) -> SlideHeatmap:
    """Score each stored patch by how dark its own stored pixels are: no coordinate is used."""
    store = Store(folder / "store")
    stored = store.slide("s")
    dark = [(stored.read_patch(n).mean(axis=2) < 130).mean() for n in range(len(stored.patches))]
    scores = PatchScores(
        stored.patches.xy_l0,
        Size(*stored.grid.side_l0()),
        np.array(dark, np.float32),
        "probability of tumour",
        "probability",
    )
    said: list[str] = []
    found = slide_files(folder / "slides") if files else None
    opened = slide_pixels(store, stored, found, said.append)
    config = load_config(None, [f"heatmap.{value}" for value in sets]).heatmap
    return SlideHeatmap(stored, scores, config, None, opened, say=said.append)


def centre_um() -> tuple[float, float]:
    return (
        (SQUARE.x + SQUARE.width / 2) * MPP.x,
        (SQUARE.y + SQUARE.height / 2) * MPP.y,
    )


def is_near(place_um: tuple[float, float], patch_um: float = 64.0) -> bool:
    """Tell whether a place is within one patch of the square's centre."""
    return all(abs(a - b) <= patch_um for a, b in zip(place_um, centre_um(), strict=True))


def yellowness(picture: np.ndarray) -> np.ndarray:
    """High where the top of viridis is laid over anything: red and green without blue."""
    rgb = picture.astype(float)
    return np.minimum(rgb[..., 0], rgb[..., 1]) - rgb[..., 2]


def brightest_um(picture: np.ndarray, um_per_px: tuple[float, float]) -> tuple[float, float]:
    """Return the middle of the pixels that are nearly as yellow as the yellowest."""
    value = yellowness(picture)
    rows, cols = np.nonzero(value > value.max() - 40)
    return ((np.median(cols) + 0.5) * um_per_px[0], (np.median(rows) + 0.5) * um_per_px[1])


@pytest.mark.parametrize("files", [True, False])
def test_every_file_shows_the_square_where_it_is(folder: Path, tmp_path: Path, files: bool) -> None:
    slide = heatmap_of(folder, files, "overlay_mpp=1.7")
    for write in (ome_tiff.write, png.write, contact_sheet.write):
        write(slide, tmp_path)
    names = ["s.overlay.ome.tiff", "s.patches.png", "s.png", "s.scores.ome.tiff"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names

    with tifffile.TiffFile(tmp_path / "s.scores.ome.tiff") as tiff:
        pixels = ElementTree.fromstring(tiff.ome_metadata).find(f"{OME}Image/{OME}Pixels")
        image = tiff.asarray()
    row, col = np.unravel_index(np.nanargmax(image), image.shape)
    plane = pixels.find(f"{OME}Plane")
    x, y = (
        float(plane.get(f"Position{axis}")) + (n + 0.5) * float(pixels.get(f"PhysicalSize{axis}"))
        for axis, n in (("X", col), ("Y", row))
    )
    assert is_near((x, y))
    assert np.isnan(image).any()

    with openslide.OpenSlide(tmp_path / "s.overlay.ome.tiff") as overlay:
        um = tuple(float(overlay.properties[f"openslide.mpp-{axis}"]) for axis in "xy")
        assert um == pytest.approx((1.7, 1.7))
        assert overlay.dimensions[0] * um[0] == pytest.approx(SIZE.width * MPP.x, abs=1.7)
        assert overlay.dimensions[1] * um[1] == pytest.approx(SIZE.height * MPP.y, abs=1.7)
        drawn = np.asarray(overlay.read_region((0, 0), 0, overlay.dimensions).convert("RGB"))
    assert is_near(brightest_um(drawn, um))

    stored = slide.stored
    panel = fit_panel(stored.thumbnail(), stored.thumbnail_scale, stored.mpp_l0)
    left, top, width, height = panel_box(panel, 1)
    with Image.open(tmp_path / "s.png") as sheet:
        right = np.asarray(sheet)[top : top + height, left : left + width]
    assert is_near(brightest_um(right, (panel.um_per_px, panel.um_per_px)))


def test_where_nothing_was_scored_the_slide_stays_bare(folder: Path, tmp_path: Path) -> None:
    slide = heatmap_of(folder, True, "overlay_mpp=1.0")
    ome_tiff.write(slide, tmp_path)
    drawn = tifffile.imread(tmp_path / "s.overlay.ome.tiff", series=0, level=0)
    assert np.abs(drawn[:, :50].astype(int) - 244).max() <= 3
    with tifffile.TiffFile(tmp_path / "s.overlay.ome.tiff") as tiff:
        assert "own file" in tiff.ome_metadata


def test_an_overlay_is_never_finer_than_the_slide(folder: Path, tmp_path: Path) -> None:
    ome_tiff.write(heatmap_of(folder, False, "overlay_mpp=0.1"), tmp_path)
    with openslide.OpenSlide(tmp_path / "s.overlay.ome.tiff") as overlay:
        assert float(overlay.properties["openslide.mpp-x"]) == pytest.approx(1.0)


def test_colours_and_numbers_by_option(folder: Path, tmp_path: Path) -> None:
    for name, *sets in (("a",), ("b", "colours=magma", "score_pixels=uint8", "top=2")):
        slide = heatmap_of(folder, True, *sets)
        for write in (ome_tiff.write, png.write, contact_sheet.write):
            write(slide, tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() != (tmp_path / "b" / file.name).read_bytes()
    assert tifffile.imread(tmp_path / "b" / "s.scores.ome.tiff").dtype == np.uint8


def test_a_slide_without_pixels_keeps_its_scores_and_says_so(folder: Path, tmp_path: Path) -> None:
    @contextmanager
    def nothing():
        raise NoPixelsError("slide 's' has no pixels", "give its file with --slides")
        yield

    slide = replace(heatmap_of(folder), open_pixels=nothing)
    for name in ("s.overlay.ome.tiff", "s.patches.png"):
        (tmp_path / name).write_text("of older scores")
    with pytest.raises(NoPixelsError, match="the overlay, not the scores: slide 's' has no pixels"):
        ome_tiff.write(slide, tmp_path)
    with pytest.raises(NoPixelsError, match="give its file"):
        contact_sheet.write(slide, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["s.scores.ome.tiff"]


def test_a_slide_that_cannot_be_read_fails_and_leaves_no_half(folder: Path, tmp_path: Path) -> None:
    class Broken:
        mpp = MPP
        origin = "a broken file"

        def read(self, region: Box, mpp: Mpp | None = None) -> np.ndarray:
            raise SlideError("s.tiff: it cannot be decoded", "copy it again")

        def l0_per_px(self, mpp: Mpp) -> tuple[float, float]:
            return (mpp.x / MPP.x, mpp.y / MPP.y)

    @contextmanager
    def broken():
        yield Broken()

    slide = replace(heatmap_of(folder), open_pixels=broken)
    for write in (ome_tiff.write, contact_sheet.write):
        with pytest.raises(SlideError, match="cannot be decoded"):
            write(slide, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["s.scores.ome.tiff"]


def test_a_slide_without_patches_gets_its_files(folder: Path, tmp_path: Path) -> None:
    slide = heatmap_of(folder)
    none = replace(slide.scores, xy_l0=np.zeros((0, 2), np.int32), values=np.zeros(0, np.float32))
    for write in (ome_tiff.write, png.write, contact_sheet.write):
        write(replace(slide, scores=none), tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert np.isnan(tifffile.imread(tmp_path / "s.scores.ome.tiff")).all()


def test_the_title_says_what_was_predicted(folder: Path) -> None:
    slide = heatmap_of(folder)
    assert title_of(slide) == "s"
    told = replace(slide, prediction={"pred": "tumour", "prob_tumour": "0.9312"})
    assert title_of(told) == "s: predicted tumour (0.93)"
    assert title_of(replace(slide, prediction={"pred": "a: b"})) == "s: predicted a: b"


def test_where_nobody_knows_the_resolution_no_file_speaks_of_micrometres(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoredSlide, "mpp_known", False)
    slide = heatmap_of(folder, False)
    for write in (ome_tiff.write, contact_sheet.write, html.write):
        write(slide, tmp_path)
    for name in ("scores", "overlay"):
        with tifffile.TiffFile(tmp_path / f"s.{name}.ome.tiff") as tiff:
            words = tiff.ome_metadata or ""
            assert tiff.pages[0].tags["ResolutionUnit"].value == 1  # none
            assert "is not known" in words
            assert not any(key in words for key in ("PhysicalSize", "Position", "StageLabel"))
    # 2 um per px cannot be asked for: the overlay has the store's own pixels.
    stored = slide.stored.grid.image_px
    height, width, _ = tiff.pages[0].shape
    assert (stored.height - height, stored.width - width) <= (1, 1)  # whole pixels alone
    page = (tmp_path / "s" / "index.html").read_text("utf-8")
    assert '"known":false' in page
    assert "whose size in \N{MICRO SIGN}m is not known" in page
