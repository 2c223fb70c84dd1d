"""Copies are found, whatever was done to them; other slides of the same kind are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from wsikit.phantoms.slide import strips
from wsikit.phantoms.spec import PhantomSpec
from wsikit.tissue import likeness
from wsikit.tissue.likeness import ALIKE, MAX_ASPECT, SIDE, Look, alike_pairs, looks
from wsikit.types import Mpp, Size, UInt8Image

MPP = Mpp(4.0, 3.9)


@pytest.fixture(scope="module")
def phantoms() -> list[UInt8Image]:
    """Six slides of one scanner, thumbnails of about 2 x 1.6 mm."""
    specs = [
        PhantomSpec(f"p{n}", Size(520 + 11 * n, 430 - 7 * n), MPP, n, n % 2 == 1, "dune", n == 3)
        for n in range(6)
    ]
    return [np.concatenate([strip.copy() for strip in strips(spec)]) for spec in specs]


@pytest.fixture(scope="module")
def real(real_data: Path) -> list[UInt8Image]:
    """Pieces of four whole-mount slides, and pictures of one tissue array (real H&E)."""
    found = []
    for path in sorted((real_data / "idc").glob("*.tif")):
        with tifffile.TiffFile(path) as tiff:
            whole = np.ascontiguousarray(tiff.series[0].levels[1].asarray())
        height, width = whole.shape[:2]
        pieces = [
            whole[r * height // 2 : (r + 1) * height // 2, c * width // 2 : (c + 1) * width // 2]
            for r in range(2)
            for c in range(2)
        ]
        found += [np.ascontiguousarray(piece) for piece in pieces]
    found += [
        np.asarray(Image.open(path).convert("RGB"))
        for path in sorted((real_data / "ucsb").glob("ytma49*1_ccd.png"))
    ]
    return found


def jpeg(picture: UInt8Image, quality: int) -> UInt8Image:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(picture: UInt8Image, factor: float) -> UInt8Image:
    size = [round(side * factor) for side in picture.shape[1::-1]]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def cropped(picture: UInt8Image, share: float) -> UInt8Image:
    """Cut a share off the left and off the lower edge."""
    height, width = picture.shape[:2]
    return picture[: height - int(share * height), int(share * width) :]


COPIES: dict[str, tuple[float, Callable[[UInt8Image], UInt8Image]]] = {
    "another quality": (1.0, lambda p: jpeg(p, 40)),
    "half as fine": (0.5, lambda p: resized(p, 0.5)),
    "another mpp": (0.71, lambda p: resized(p, 0.71)),
    "cropped by 2 %": (1.0, lambda p: cropped(p, 0.02)),
    "cropped by 5 %": (1.0, lambda p: cropped(p, 0.05)),
    "cropped by 10 %": (1.0, lambda p: cropped(p, 0.10)),
    "mirrored": (1.0, lambda p: p[:, ::-1]),
    "upside down": (1.0, lambda p: p[::-1]),
    "a quarter turn": (1.0, lambda p: np.rot90(p)),
    "three quarters and mirrored": (1.0, lambda p: np.rot90(p, 3)[:, ::-1]),
    "half a turn": (1.0, lambda p: np.rot90(p, 2)),
    "darker": (1.0, lambda p: (p * 0.8).astype(np.uint8)),
    "all at once": (0.7, lambda p: np.rot90(cropped(jpeg(resized(p, 0.7), 60), 0.05))[:, ::-1]),
}


LYING = ("a quarter turn", "three quarters and mirrored", "all at once")
"""Copies whose x runs along the original's y."""


def copy_of(picture: UInt8Image, kind: str, mpp: Mpp) -> tuple[Look, ...]:
    factor, change = COPIES[kind]
    changed = np.ascontiguousarray(change(picture))
    x, y = mpp[::-1] if kind in LYING else mpp
    return looks(changed, Mpp(x / factor, y / factor))


def likenesses(one: tuple[Look, ...], other: tuple[Look, ...]) -> float:
    found = list(alike_pairs([one, other], least=-1))
    return found[0][2] if found else -1.0


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_phantoms_are_found(phantoms: list[UInt8Image], kind: str) -> None:
    for picture in phantoms:
        assert likenesses(looks(picture, MPP), copy_of(picture, kind, MPP)) > ALIKE + 0.1


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_real_slides_are_found(real: list[UInt8Image], kind: str) -> None:
    mpp = Mpp(8.0, 8.0)
    for picture in real:
        assert likenesses(looks(picture, mpp), copy_of(picture, kind, mpp)) > ALIKE + 0.1


def test_other_slides_of_one_scanner_and_stain_are_not(
    phantoms: list[UInt8Image], real: list[UInt8Image]
) -> None:
    """Pieces of one and the same slide among them: nothing can be more of a kind."""
    for pictures, mpp in ((phantoms, MPP), (real, Mpp(8.0, 8.0))):
        found = list(alike_pairs([looks(p, mpp) for p in pictures], least=-1))
        assert len(found) > 10
        assert max(likeness for _, _, likeness in found) < ALIKE - 0.1


def test_a_copy_is_found_among_many_and_both_are_named(phantoms: list[UInt8Image]) -> None:
    every = [looks(p, MPP) for p in phantoms]
    every.insert(2, copy_of(phantoms[4], "all at once", MPP))
    ((one, other, value),) = alike_pairs(every)
    assert (one, other) == (2, 5)
    assert ALIKE < value <= 1.0001


def test_pairs_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of three, and eight ways of laying each picture tried one by one."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (90, 70, 3), np.uint8) for _ in range(7)]
    smooth = [ndimage.gaussian_filter(p, (2, 2, 0)) for p in pictures]
    smooth[5] = np.ascontiguousarray(np.rot90(smooth[1]))
    mpp = Mpp(1.0, 1.0)
    every = [looks(p, mpp) for p in smooth]
    monkeypatch.setattr(likeness, "_BLOCK", 3)
    found = {(i, j): value for i, j, value in alike_pairs(every, least=-1)}
    assert len(found) == 21
    for (i, j), value in found.items():
        ways = [np.rot90(p, k) for p in (smooth[j], smooth[j][:, ::-1]) for k in range(4)]
        laid = [looks(np.ascontiguousarray(way), mpp) for way in ways]
        plain = max(
            float(a.code @ b.code)
            for other in laid
            for a in every[i]
            for b in other
            if a.scale == b.scale
        )
        assert value == pytest.approx(plain, abs=0.12)  # a turned picture is cut at other pixels
    assert [pair for pair, value in found.items() if value > ALIKE] == [(1, 5)]


def test_a_code_is_the_spectrum_by_its_definition() -> None:
    """Sum the Fourier series by hand at some of the frequencies."""
    rng = np.random.default_rng(1)
    frame = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    fy, fx = likeness._frequencies()
    y, x = np.indices(frame.shape)

    def level(v: int, u: int) -> float:
        wave = np.exp(-2j * np.pi * (v * y + u * x) / SIDE)
        return float(np.log(abs((frame * wave).sum()) ** 2 + 1e-6 * (frame**2).sum()))

    half = likeness._LOCAL // 2
    picked = rng.choice(np.flatnonzero((abs(fy) < 20) & (abs(fx) < 20)), 6, replace=False)
    by_hand = []
    for n in picked:
        around = [
            level(int(fy[n]) + b, int(fx[n]) + a)
            for b in range(-half, half + 1)
            for a in range(-half, half + 1)
        ]
        by_hand.append(level(int(fy[n]), int(fx[n])) - np.mean(around))
    code = likeness._code(frame)[picked]
    slope, offset = np.polyfit(by_hand, code, 1)
    np.testing.assert_allclose(code, slope * np.array(by_hand) + offset, atol=1e-4)
    assert slope > 0


def test_pictures_with_nothing_to_see_or_too_narrow_are_like_nothing() -> None:
    blank = np.full((80, 100, 3), 240, np.uint8)
    assert list(alike_pairs([looks(blank, MPP), looks(blank, MPP)])) == []
    strip = np.full((20, int(20 * MAX_ASPECT * 1.2), 3), 200, np.uint8)
    assert looks(strip, Mpp(1, 1)) == ()
    assert looks(strip, Mpp(1, MAX_ASPECT)) != ()  # long in pixels only
    assert looks(np.zeros((1, 1, 3), np.uint8), MPP) == ()
    assert list(alike_pairs([])) == []


def test_a_copy_of_nearly_the_same_size_always_shares_a_scale() -> None:
    picture = np.full((100, 120, 3), 200, np.uint8)
    for step in np.geomspace(0.3, 3.0, 60):
        one = {look.scale for look in looks(picture, Mpp(step, step))}
        other = {look.scale for look in looks(picture, Mpp(step * 1.3, step * 1.3))}
        assert one & other
