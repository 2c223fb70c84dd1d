from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
import xmlschema

from wsikit.errors import UsageError, WsikitError
from wsikit.heatmap.ome_tiff_overlay import write_overlay_tiff
from wsikit.heatmap.ome_tiff_pyramid import TILE_PX
from wsikit.heatmap.ome_tiff_scores import lattice, score_image, write_score_tiff
from wsikit.heatmap.ome_xml import OmeImage, ome_xml
from wsikit.heatmap.paint import blend
from wsikit.heatmap.scores import PatchScores
from wsikit.pyramid import halve, level_sizes
from wsikit.types import Box, Mpp, Size, UInt8Image

MPP = Mpp(0.5, 0.46)
SLIDE = Size(4100, 2300)
TISSUE = (225, 160, 195)
OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def grid_scores(kind: str = "probability") -> PatchScores:
    """Every second patch of a grid, scores rising with a hidden order."""
    side = Size(128, 120)
    places = [
        (x, y)
        for y in range(0, SLIDE.height, side.height)
        for x in range(0, SLIDE.width, side.width)
        if (x // side.width + y // side.height) % 2
    ]
    values = np.random.default_rng(0).permutation(len(places)) / len(places)
    return PatchScores(
        np.array(places, np.int32), side, values.astype(np.float32), "probability of tumour", kind
    )


def flat(scale: tuple[float, float]) -> Callable[[Box], UInt8Image]:
    def read(region: Box) -> UInt8Image:
        width, height = region.width / scale[0], region.height / scale[1]
        assert (width, height) == pytest.approx((round(width), round(height)), abs=1e-6)
        return np.full((round(height), round(width), 3), TISSUE, np.uint8)

    return read


def pixels_of(path: Path) -> dict[str, str]:
    with tifffile.TiffFile(path) as tiff:
        root = ElementTree.fromstring(tiff.ome_metadata)
    element = root.find(f"{OME}Image/{OME}Pixels")
    return {**element.attrib, **element.find(f"{OME}Plane").attrib}


@pytest.fixture(scope="module")
def schema() -> xmlschema.XMLSchema:
    import ome_types

    return xmlschema.XMLSchema(str(Path(ome_types.__file__).parent / "ome-2016-06.xsd"))


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ome") / "s.overlay.ome.tiff"
    scale = (1.3, 1.3 * MPP.x / MPP.y)
    write_overlay_tiff(path, grid_scores(), flat(scale), SLIDE, scale, MPP, "s")
    return path


@pytest.mark.parametrize("name", ["s", "<a&'\">", "切片\x00\x1f\ud800\u202e", ""])
@pytest.mark.parametrize(("kind", "samples"), [("float", 1), ("uint8", 3)])
def test_any_description_is_valid_ome(
    schema: xmlschema.XMLSchema, name: str, kind: str, samples: int
):
    notes = {"meaning": name, "empty": ""}
    image = OmeImage(name, name, name, Size(3, 4), kind, samples, MPP, (-1.5, 2.0), notes)
    xml = ome_xml(image)
    schema.validate(xml.decode("ascii"))
    assert xml == ome_xml(image)
    found = ElementTree.fromstring(xml).find(f"{OME}Image").get("Name")
    assert found == "".join(c for c in name if c not in "\x00\x1f\ud800")


@pytest.mark.parametrize("kind", ["probability", "attention"])
def test_both_files_are_valid_ome_and_say_what_a_score_means(
    schema: xmlschema.XMLSchema, overlay: Path, tmp_path: Path, kind: str
):
    scores = grid_scores(kind=kind)
    write_score_tiff(tmp_path / "a.ome.tiff", scores, SLIDE, (128, 120), MPP, "s")
    for path in (tmp_path / "a.ome.tiff", overlay):
        with tifffile.TiffFile(path) as tiff:
            schema.validate(tiff.ome_metadata)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as tiff:
        root = ElementTree.fromstring(tiff.ome_metadata)
    notes = {element.get("K"): element.text for element in root.iter(f"{OME}M")}
    assert notes["meaning"] == scores.shown_meaning
    assert ("percentile" in notes["meaning"]) == (kind == "attention")
    assert "NaN" in notes["values"]
    assert scores.shown_meaning in root.find(f"{OME}Image/{OME}Description").text


@pytest.mark.parametrize("kind", ["probability", "attention"])
def test_every_score_is_found_by_its_place_in_micrometres(tmp_path: Path, kind: str):
    scores = grid_scores(kind=kind)
    path = tmp_path / "a.scores.ome.tiff"
    write_score_tiff(path, scores, SLIDE, (128, 120), MPP, "s")
    image, said = tifffile.imread(path), pixels_of(path)
    assert image.dtype == np.float32
    assert image.shape == (20, 33)
    assert np.isfinite(image).sum() == len(scores.values)
    assert said["PhysicalSizeXUnit"] == said["PositionXUnit"] == "µm"
    for (x, y), shown in zip(scores.xy_l0, scores.shown, strict=True):
        um = ((x + 64) * MPP.x, (y + 60) * MPP.y)
        col = int((um[0] - float(said["PositionX"])) / float(said["PhysicalSizeX"]))
        row = int((um[1] - float(said["PositionY"])) / float(said["PhysicalSizeY"]))
        assert image[row, col] == pytest.approx(shown * (100 if kind == "attention" else 1))


def test_overlapping_reads_have_a_pixel_each_centred_on_them(tmp_path: Path):
    xy = np.array([(x, y) for y in range(0, 600, 32) for x in range(0, 900, 32)], np.int32)
    values = np.linspace(0, 1, len(xy), dtype=np.float32)
    scores = PatchScores(xy, Size(128, 128), values, "p", "probability")
    places = lattice(scores, Size(1000, 700), (32, 32))
    assert places.origin_l0 == (48, 48)
    image = score_image(scores, places)
    assert np.isfinite(image).sum() == len(xy)
    row, col = np.unravel_index(np.nanargmax(image), image.shape)
    centre = (places.origin_l0[0] + (col + 0.5) * 32, places.origin_l0[1] + (row + 0.5) * 32)
    assert centre == tuple(xy[-1] + 64)


def test_a_fractional_step_gives_every_patch_a_pixel_of_its_own():
    step = (731.428, 702.83)
    rows, cols = np.divmod(np.arange(120 * 90), 120)
    xy = np.stack([np.floor(cols * step[0] + 0.5), np.floor(rows * step[1] + 0.5)], axis=1)
    values = np.random.default_rng(1).random(len(xy)).astype(np.float32)
    scores = PatchScores(xy.astype(np.int32), Size(731, 703), values, "p", "probability")
    slide = Size(int(120 * step[0]), int(90 * step[1]))
    image = score_image(scores, lattice(scores, slide, step))
    np.testing.assert_array_equal(image, values.reshape(90, 120))


def test_patches_on_no_lattice_share_a_pixel_as_their_mean():
    xy = np.array([(3, 5), (21, 17), (700, 300)], np.int32)
    scores = PatchScores(xy, Size(100, 100), np.float32([0.2, 0.4, 1]), "p", "probability")
    image = score_image(scores, lattice(scores, Size(800, 400), (100, 100)))
    assert image[0, 0] == pytest.approx(0.3)
    assert image[3, 7] == 1
    assert np.isfinite(image).sum() == 2


def test_whole_numbers_keep_apart_what_is_low_and_what_is_nothing(tmp_path: Path):
    scores = grid_scores()
    path = tmp_path / "a.ome.tiff"
    write_score_tiff(path, scores, SLIDE, (128, 120), MPP, "s", "uint8")
    image = tifffile.imread(path)
    exact = score_image(scores, lattice(scores, SLIDE, (128, 120)))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image == 0, np.isnan(exact))
    shown = image > 0
    np.testing.assert_allclose((image[shown] - 1) / 254, exact[shown], atol=0.5 / 254 + 1e-6)


def test_a_slide_without_patches_is_all_nothing(tmp_path: Path):
    none = PatchScores(np.zeros((0, 2), np.int32), Size(9, 9), np.zeros(0, "f4"), "p", "attention")
    write_score_tiff(tmp_path / "a.ome.tiff", none, Size(100, 50), (9, 9), MPP, "s")
    image = tifffile.imread(tmp_path / "a.ome.tiff")
    assert image.shape == (6, 12)
    assert np.isnan(image).all()
    write_overlay_tiff(tmp_path / "b.ome.tiff", none, flat((1, 1)), Size(100, 50), (1, 1), MPP, "s")
    assert np.abs(tifffile.imread(tmp_path / "b.ome.tiff") - np.int16(TISSUE)).max() <= 2


def test_an_absurd_picture_is_refused():
    with pytest.raises(WsikitError, match="too large"):
        lattice(grid_scores(), Size(1 << 20, 1 << 20), (8, 8))


def test_all_readers_see_the_same_levels(overlay: Path):
    with tifffile.TiffFile(overlay) as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
        assert len(tiff.series) == 1
        assert all(level.pages[0].tile == (512, 512) for level in tiff.series[0].levels)
    sizes = [(level.shape[1], level.shape[0]) for level in levels]
    assert sizes == [tuple(size) for size in level_sizes(Size(*sizes[0]), TILE_PX)]
    assert len(sizes) == 4
    with openslide.OpenSlide(overlay) as slide, tiffslide.TiffSlide(overlay) as other:
        assert list(slide.level_dimensions) == list(other.level_dimensions) == sizes
        for k, (size, level) in enumerate(zip(sizes, levels, strict=True)):
            for reader in (slide, other):
                seen = np.asarray(reader.read_region((0, 0), k, size))[..., :3]
                assert np.abs(seen - level.astype(np.int16)).max() <= 3
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(1.3 * MPP.x)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(1.3 * MPP.x)
        assert other.properties["tiffslide.mpp-x"] == pytest.approx(1.3 * MPP.x)


def test_levels_are_sub_ifds_and_not_themselves_in_the_main_chain(overlay: Path):
    with tifffile.TiffFile(overlay) as tiff:
        subs = list(tiff.pages.first.subifds)
        chain = [page.offset for page in tiff.pages]
        assert len(chain) == 1 + len(subs)
        assert not set(chain) & set(subs)
        below = [level.pages[0] for level in tiff.series[0].levels[1:]]
        for copy, page in zip(list(tiff.pages)[1:], below, strict=True):
            assert copy.aspage().dataoffsets == page.dataoffsets
            assert copy.aspage().subfiletype == page.subfiletype == 1
            assert copy.aspage().description == ""
    widths = [page.imagewidth for page in below]
    assert widths == sorted(widths, reverse=True)


def test_streamed_blocks_are_the_picture_painted_at_once(tmp_path: Path):
    rng = np.random.default_rng(3)
    size, scale = Size(4700, 700), (2.0, 1.5)
    coarse = rng.integers(120, 255, (size.height // 50, size.width // 50, 3), np.uint8)
    picture = coarse.repeat(50, axis=0).repeat(50, axis=1)

    def read(region: Box) -> UInt8Image:
        x, y = round(region.x / scale[0]), round(region.y / scale[1])
        width, height = round(region.width / scale[0]), round(region.height / scale[1])
        return picture[y : y + height, x : x + width]

    xy = rng.integers(0, (9000, 900), (60, 2)).astype(np.int32)
    scores = PatchScores(xy, Size(400, 330), rng.random(60).astype("f4"), "p", "attention")
    slide = Size(9401, 1051)
    write_overlay_tiff(tmp_path / "a.tiff", scores, read, slide, scale, MPP, "s", alpha=0.7)
    drawn = tifffile.imread(tmp_path / "a.tiff", series=0, level=0).astype(float)
    expected = blend(picture, scale, scores, 0.7).astype(float)
    assert drawn.shape == expected.shape
    error = np.abs(drawn - expected).mean(axis=2)
    shifted = np.abs(np.roll(drawn, 1, axis=1) - expected).mean(axis=2)
    assert error.mean() < 2.5  # JPEG blurs colour within its blocks
    assert shifted.mean() > 1.2 * error.mean()
    columns = error.mean(axis=0)
    assert columns[4080:4112].mean() < 2 * columns.mean()  # where two blocks meet


def test_the_pyramid_is_big_tiff_where_it_must_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("wsikit.heatmap.ome_tiff_pyramid.BIG_BYTES", 1)
    write_overlay_tiff(
        tmp_path / "a.ome.tiff", grid_scores(), flat((4, 4)), SLIDE, (4, 4), MPP, "s"
    )
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as tiff:
        assert tiff.is_bigtiff
        assert len(tiff.series[0].levels) == 3 - 1
    with openslide.OpenSlide(tmp_path / "a.ome.tiff") as slide:
        assert slide.level_count == 2


def test_equal_input_gives_equal_bytes(tmp_path: Path, overlay: Path):
    scale = (1.3, 1.3 * MPP.x / MPP.y)
    write_overlay_tiff(tmp_path / "b.tiff", grid_scores(), flat(scale), SLIDE, scale, MPP, "s")
    assert (tmp_path / "b.tiff").read_bytes() == overlay.read_bytes()
    for name in ("c", "d"):
        write_score_tiff(tmp_path / name, grid_scores(), SLIDE, (128, 120), MPP, "s")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()


def test_halving_averages_and_rounds_up():
    rows = np.random.default_rng(2).integers(0, 256, (5, 7, 3), np.uint8)
    fours = sum(rows[i:4:2, j:6:2].astype(float) for i in (0, 1) for j in (0, 1))
    np.testing.assert_array_equal(halve(rows), np.floor(fours / 4 + 0.5))


def test_memory_does_not_grow_with_the_slide(tmp_path: Path):
    def peak(height: int) -> int:
        tracemalloc.start()
        args = (flat((2, 2)), Size(1600, height), (2.0, 2.0), MPP, "s")
        write_overlay_tiff(tmp_path / "a.ome.tiff", grid_scores(), *args)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    short, tall = peak(4_000), peak(32_000)
    assert tall < 1.1 * short
    assert tall < 32 << 20


def test_a_read_that_fails_half_way_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.overlay.ome.tiff"
    path.write_bytes(b"before")

    def failing(region: Box) -> UInt8Image:
        if region.y > 1000:
            raise WsikitError("tile 7 cannot be decoded")
        return flat((1, 1))(region)

    with pytest.raises(WsikitError, match="tile 7"):
        write_overlay_tiff(path, grid_scores(), failing, SLIDE, (1, 1), MPP, "s")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(UsageError, match=r"cannot write .*a\.ome\.tiff") as caught:
            write_overlay_tiff(
                tmp_path / "a.ome.tiff", grid_scores(), flat((1, 1)), SLIDE, (1, 1), MPP, "s"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path):
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_score_tiff(tmp_path / "f" / "a", grid_scores(), SLIDE, (128, 120), MPP, "s")
    with pytest.raises(UsageError, match="cannot write"):
        write_overlay_tiff(
            tmp_path / "f" / "a", grid_scores(), flat((4, 4)), SLIDE, (4, 4), MPP, "s"
        )
