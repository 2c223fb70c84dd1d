from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide

from wsikit.errors import WsikitError
from wsikit.phantoms import slide as slide_module
from wsikit.phantoms.slide import strips, write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size

SPEC = PhantomSpec("s", Size(2301, 1157), Mpp(0.5, 0.46), 8, True, "dune", pen=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "s.tiff"
    write_phantom(SPEC, path)
    return path


@pytest.fixture(scope="module")
def levels(path):
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.series) == 1
        return [level.asarray() for level in tiff.series[0].levels]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_spec_gives_the_same_bytes_whatever_the_strips(path, tmp_path, monkeypatch):
    monkeypatch.setattr(slide_module, "STRIP_ROWS", 300)
    monkeypatch.setattr(slide_module, "BLOCK_COLUMNS", 777)
    again = tmp_path / "other.tiff"
    write_phantom(SPEC, again)
    assert digest(again) == digest(path)
    assert [file.name for file in tmp_path.iterdir()] == ["other.tiff"]


def test_levels_halve_to_about_512(levels):
    assert [level.shape for level in levels] == [
        (1157, 2301, 3),
        (578, 1150, 3),
        (289, 575, 3),
        (144, 287, 3),
    ]


def test_three_readers_see_the_same_pixels(path, levels):
    with openslide.OpenSlide(path) as a, tiffslide.TiffSlide(path) as b:
        assert a.properties["openslide.vendor"] == "generic-tiff"
        assert a.level_dimensions == b.level_dimensions
        for index, level in enumerate(levels):
            size = a.level_dimensions[index]
            assert size == (level.shape[1], level.shape[0])
            for reader in (a, b):
                pixels = np.asarray(reader.read_region((0, 0), index, size).convert("RGB"))
                np.testing.assert_array_equal(pixels, level)


def test_every_reader_finds_the_mpp(path):
    with openslide.OpenSlide(path) as a, tiffslide.TiffSlide(path) as b:
        for reader, prefix in ((a, "openslide"), (b, "tiffslide")):
            for axis, mpp in zip("xy", SPEC.mpp, strict=True):
                found = float(reader.properties[f"{prefix}.mpp-{axis}"])
                assert found == pytest.approx(mpp, rel=1e-4)


def test_jpeg_loses_little(levels):
    drawn = np.vstack([strip.copy() for strip in strips(SPEC)])
    assert np.abs(levels[0].astype(int) - drawn).mean() < 4


def test_a_level_is_the_average_of_the_one_before(levels):
    for fine, coarse in itertools.pairwise(levels):
        height, width = coarse.shape[0] * 2, coarse.shape[1] * 2
        blocks = fine[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
        assert np.abs(blocks.mean((1, 3)) - coarse).mean() < 4


def test_a_slide_of_whole_tiles_is_complete(tmp_path):
    spec = PhantomSpec("w", Size(1536, 1024), Mpp(0.5, 0.5), 1, True, "boreal")
    write_phantom(spec, tmp_path / "w.tiff")
    with tifffile.TiffFile(tmp_path / "w.tiff") as tiff:
        shapes = [level.asarray().shape for level in tiff.series[0].levels]
    assert shapes == [(1024, 1536, 3), (512, 768, 3), (256, 384, 3)]


def test_a_large_slide_becomes_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(slide_module, "BIG_BYTES", 1000)
    spec = PhantomSpec("b", Size(700, 300), Mpp(0.5, 0.5), 1, True, "boreal")
    write_phantom(spec, tmp_path / "b.tiff")
    with tifffile.TiffFile(tmp_path / "b.tiff") as tiff:
        assert tiff.is_bigtiff
    with openslide.OpenSlide(tmp_path / "b.tiff") as reader:
        assert reader.dimensions == (700, 300)


def test_an_interrupted_slide_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(slide_module, "render_block", stop)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(SPEC, tmp_path / "s.tiff")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_place_is_one_clear_line(tmp_path):
    with pytest.raises(WsikitError, match=r"cannot write the phantom s\.tiff: .*choose a folder"):
        write_phantom(SPEC, tmp_path / "missing" / "s.tiff")


def test_memory_does_not_grow_with_the_slide(tmp_path):
    peaks = []
    for height in (1024, 4096):
        spec = PhantomSpec("m", Size(1200, height), Mpp(0.5, 0.5), 1, True, "dune")
        write_phantom(spec, tmp_path / "warm.tiff")
        tracemalloc.start()
        write_phantom(spec, tmp_path / "m.tiff")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0]


WIDE = """
import sys
from pathlib import Path
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size
spec = PhantomSpec("w", Size(100_000, 512), Mpp(0.5, 0.5), 3, True, "dune")
write_phantom(spec, Path(sys.argv[1]))
# Not getrusage: its peak survives exec, so a child starts with the peak of whoever started it.
peak = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(peak[0].split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_slide_100000_px_wide_fits_into_a_gigabyte(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WIDE, str(tmp_path / "w.tiff")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) * 1024 < 2**30
    with openslide.OpenSlide(tmp_path / "w.tiff") as reader:
        assert reader.dimensions == (100_000, 512)
