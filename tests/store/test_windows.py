"""Windows of other sizes and strides, against the whole image put together as one array."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import zarr

from wsikit.errors import StoreError, UsageError
from wsikit.geometry import PatchGrid
from wsikit.store import windows as module
from wsikit.store.decisions import KEPT, Decisions
from wsikit.store.slide_writer import SHARD_PATCHES, Judgement, Shard, SlideWriter
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.store.windows import Windows, patch_windows, read_window, sweep_windows
from wsikit.types import Size

PATCH = 32
GRID = PatchGrid(Size(1000, 1301), (1.37, 1.91), PATCH)  # 730 x 682 store px: 22 rows, 23 columns


def kept_places() -> np.ndarray:
    """Half the grid in lumps, the overhanging border among them."""
    rng = np.random.default_rng(4)
    lumps = rng.random((GRID.rows // 3 + 1, GRID.cols // 3 + 1)) < 0.45
    kept = np.kron(lumps, np.ones((3, 3), bool))[: GRID.rows, : GRID.cols]
    kept[-1, :5] = kept[2, -1] = True
    return kept


def on_slide(pixels: np.ndarray, row: int, col: int) -> np.ndarray:
    """White out what overhangs the image, as tiling does."""
    width, height = GRID.image_px
    pixels[max(0, height - row * PATCH) :] = 255
    pixels[:, max(0, width - col * PATCH) :] = 255
    return pixels


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredSlide:
    store = Store.create(tmp_path_factory.mktemp("windows") / "store", {"size": PATCH})
    writer = SlideWriter(store.staging_path("s.zarr"), GRID, ("zstd", 90, "420"))
    kept = kept_places()
    ones, reason = np.ones(kept.shape, np.float32), np.where(kept, KEPT, 1).astype(np.uint8)
    attributes = {
        "recipe_id": "r", "recipe": {"size": PATCH}, "size_l0": list(GRID.slide_px),
        "mpp_l0": [0.25, 0.26], "mpp": [0.3425, 0.4966], "scale": list(GRID.scale),
        "patch_px": PATCH, "thumbnail_scale": [100.0, 100.0],
    }  # fmt: skip
    thumbnail = np.zeros((13, 10, 3), np.uint8)
    writer.begin(attributes, thumbnail, Decisions(ones, ones.copy(), reason))
    rng, encode = np.random.default_rng(1), writer.encoder()
    shards: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, col in np.argwhere(kept).tolist():
        shards.setdefault((row // SHARD_PATCHES, col // SHARD_PATCHES), []).append((row, col))
    for place, mine in shards.items():
        pixels = {rc: encode(on_slide(rng.integers(0, 250, (PATCH, PATCH, 3), np.uint8), *rc))
                  for rc in mine}  # fmt: skip
        writer.write_shard(Shard(*place), pixels, [Judgement(*rc, 1.0, 9.0, KEPT) for rc in mine])
    writer.finish(store.slide_path("s"))
    return store.slide("s")


@pytest.fixture(scope="module")
def dense(stored: StoredSlide) -> np.ndarray:
    """The whole slide as one (y, x, 3) array with a white rim, through zarr itself."""
    image = np.asarray(zarr.open_array(stored.path / "0", mode="r")[:]).transpose(1, 2, 0)
    return np.pad(image, ((200, 1200), (200, 1200), (0, 0)), constant_values=255)


def cover_map(stored: StoredSlide) -> np.ndarray:
    """Which store px a stored patch covers, beyond the image too, as (y, x) bool."""
    covered = np.zeros((GRID.rows, GRID.cols), bool)
    covered[stored.patches.row, stored.patches.col] = True
    return np.pad(np.kron(covered, np.ones((PATCH, PATCH), bool)), ((0, 1200), (0, 1200)))


def places(windows: Windows) -> list[tuple[int, int]]:
    return list(zip(windows.x_px.tolist(), windows.y_px.tolist(), strict=True))


def test_windows_like_the_patches_are_the_patches(stored: StoredSlide) -> None:
    windows = patch_windows(stored, PATCH)
    index = stored.patches
    order = np.lexsort((index.col, index.row))
    np.testing.assert_array_equal(windows.x, index.x[order])
    np.testing.assert_array_equal(windows.y, index.y[order])
    np.testing.assert_array_equal(windows.x_px, index.col[order] * PATCH)
    np.testing.assert_array_equal(windows.y_px, index.row[order] * PATCH)
    assert windows.side_l0 == stored.grid.side_l0()
    assert (windows.cover == 1).all()
    for i, pixels in zip(order.tolist(), sweep_windows(stored, windows), strict=True):
        np.testing.assert_array_equal(pixels, stored.read_patch(i))
    for share in (0.0, 1e-6, 1.0):
        assert places(patch_windows(stored, PATCH, PATCH, share)) == places(windows)


@pytest.mark.parametrize(
    ("size", "stride", "min_cover"),
    [(32, 16, 0.5), (32, 7, 1.0), (16, 16, 1.0), (20, 33, 0.0), (64, 32, 0.75), (100, 31, 0.3),
     (45, 45, 0.5), (1000, 250, 0.1), (1, 13, 1.0)],
)  # fmt: skip
def test_windows_are_those_of_a_search_over_the_whole_image(
    stored: StoredSlide, dense: np.ndarray, size: int, stride: int, min_cover: float
) -> None:
    covered = cover_map(stored)
    width, height = stored.grid.image_px
    wanted = {}
    for y in range(0, height, stride):
        for x in range(0, width, stride):
            share = covered[y : y + size, x : x + size].sum() / size**2
            if share > 0 and share >= min_cover:
                wanted[x, y] = share
    windows = patch_windows(stored, size, stride, min_cover)
    assert places(windows) == list(wanted)
    assert len(windows) == len(wanted) > 0
    np.testing.assert_allclose(windows.cover, list(wanted.values()), rtol=1e-6)
    np.testing.assert_array_equal(windows.x, [np.floor(x * 1.37 + 0.5) for x, _ in wanted])
    np.testing.assert_array_equal(windows.y, [np.floor(y * 1.91 + 0.5) for _, y in wanted])
    pairs = zip(places(windows), sweep_windows(stored, windows), strict=True)
    for (x, y), pixels in pairs:
        wanted_pixels = dense[200 + y : 200 + y + size, 200 + x : 200 + x + size]
        np.testing.assert_array_equal(pixels, wanted_pixels)


@pytest.mark.parametrize(
    ("x", "y", "size"), [(0, 0, 50), (-30, -40, 100), (700, 660, 64), (-99, 5, 99), (300, 200, 200)]
)
def test_any_square_can_be_read(
    stored: StoredSlide, dense: np.ndarray, x: int, y: int, size: int
) -> None:
    wanted = dense[200 + y : 200 + y + size, 200 + x : 200 + x + size]
    np.testing.assert_array_equal(read_window(stored, x, y, size), wanted)


def test_a_sweep_decodes_each_patch_once_and_holds_few(
    stored: StoredSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[int] = Counter()
    read = StoredSlide.read_patch

    def counting(self: StoredSlide, index: int) -> np.ndarray:
        decoded[index] += 1
        return read(self, index)

    monkeypatch.setattr(StoredSlide, "read_patch", counting)
    held = []
    forget = module._Sweep.forget_above

    def watching(self: module._Sweep, y_px: int) -> None:
        held.append(len(self.decoded))
        forget(self, y_px)

    monkeypatch.setattr(module._Sweep, "forget_above", watching)
    windows = patch_windows(stored, 32, 8, 0.0)
    assert sum(1 for _ in sweep_windows(stored, windows)) == len(windows)
    assert decoded == Counter(range(len(stored.patches)))
    assert max(held) == 2


def test_no_patch_no_window(stored: StoredSlide, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = stored.patches
    nothing = type(empty)(*(getattr(empty, name)[:0] for name in empty.__dataclass_fields__))
    monkeypatch.setitem(stored.__dict__, "patches", nothing)
    windows = patch_windows(stored, 64, 16, 0.0)
    assert len(windows) == 0
    assert list(sweep_windows(stored, windows)) == []
    assert (read_window(stored, 0, 0, 40) == 255).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ((0,), "at least 1"),
        ((32, 0), "at least 1"),
        ((32, -5), "at least 1"),
        ((32, 32, 1.5), "a share, 0 to 1"),
        ((32, 32, float("nan")), "a share, 0 to 1"),
    ],
)
def test_what_cannot_be_a_window_is_refused(stored: StoredSlide, call: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        patch_windows(stored, *call)


def test_a_stride_that_would_fill_the_memory_is_refused(
    stored: StoredSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WINDOWS", 1000)
    with pytest.raises(UsageError, match=r"too many windows of slide 's'.*such as 16"):
        patch_windows(stored, 32, 1)


def test_a_damaged_patch_is_named(stored: StoredSlide, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: StoredSlide, row: int, col: int) -> bytes:
        raise ValueError("bad bytes")

    monkeypatch.setattr(StoredSlide, "_chunk", broken)
    row, col = int(stored.patches.row[0]), int(stored.patches.col[0])
    with pytest.raises(StoreError, match=f"patch at row {row}, column {col} cannot be decoded"):
        read_window(stored, col * PATCH, row * PATCH, 10)
