"""Tell whether two overviews show the same slide, in whatever copy.

A copy may be compressed anew, resampled, cropped a little, mirrored or turned by quarters. The code
of an overview is the logarithm of the power spectrum of its optical density, less its own local
mean:

* a power spectrum does not change where the picture is shifted, and little where some per cent
  of it are cut off; mirrored or turned by quarters, its coefficients change places and no more;
* what is taken off are the outline and the graininess that all slides of a kind share, so codes of
  different slides are as good as random: over hundreds of coefficients they cannot agree by chance.

The picture is first brought to a fixed scale in micrometres, so a copy at another resolution is
found where both state their true micrometres per pixel. Sections cut one after another differ in
detail and are not called copies.

Related: perceptual hashes, which a crop or a turn defeats, and the first step of Fourier-Mellin
registration (Reddy and Chatterji 1996).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsikit.types import FloatArray, Mpp, UInt8Image

ALIKE = 0.4
"""Likeness from which two overviews are called copies. Measured: 0.56 and more for copies of which
a tenth of either side was cut off, 0.77 and more for a twentieth; 0.23 at most for different
pictures of one scanner and stain, 0.32 for narrow strips of them (see docs/training.md)."""

SIDE = 64
"""Pixels of the picture that is coded, a side."""

MAX_ASPECT = 3.0
"""Pictures longer than this many times their width are not coded: too little of them is left."""

_LOW, _HIGH = 3, 24
"""Frequencies that are compared, in cycles a picture."""

_DETAIL, _SHADING = 0.6, 5.0
"""Standard deviations of the filters that drop noise, and outline and shading, in pixels."""

_LOCAL = 9
"""Coefficients a side over which a spectrum's own level is taken."""

_TAPER = 0.2
"""Share of a side, at either end, over which the picture fades out."""

_BLOCK = 1024
"""Codes compared at a time with all others."""

_DENSITY = -np.log((np.arange(256) + 1) / 256).astype(np.float32)


class Look(NamedTuple):
    """How an overview looks at one scale.

    Attributes:
        scale: number of the scale; only looks of one scale can be compared.
        code: (K,) float32 of length one; all zero where there is nothing to see.
    """

    scale: int
    code: FloatArray


def looks(picture: UInt8Image, mpp: Mpp) -> tuple[Look, ...]:
    """Code an overview at two scales, of which a copy of about its size shares one at least.

    Args:
        picture: (h, w, 3) uint8, the whole slide.
        mpp: micrometres per pixel of the picture, along x and y.

    Returns:
        Two looks; none where the picture is too long and narrow.
    """
    height, width = picture.shape[:2]
    sides = width * mpp.x, height * mpp.y
    if max(sides) > MAX_ASPECT * min(sides) or min(height, width) < 2:
        return ()
    finest = math.ceil(2 * math.log2(max(sides) / SIDE))
    density = _density(picture)
    shrink = width / density.width, height / density.height
    px_um = Mpp(mpp.x * shrink[0], mpp.y * shrink[1])
    return tuple(Look(s, _code(_framed(density, px_um, s))) for s in (finest, finest + 1))


def alike_pairs(
    every: Sequence[Iterable[Look]], least: float = ALIKE
) -> Iterator[tuple[int, int, float]]:
    """Find the pictures that are copies of one another.

    All pairs are compared as matrix products: for 10,000 slides 10^12 multiplications, twenty
    seconds of one core, in 300 MB.

    Args:
        every: the looks of N pictures.
        least: the least likeness of copies.

    Yields:
        Numbers of two pictures, the smaller first, and their likeness, in order.
    """
    by_scale: dict[int, list[tuple[int, FloatArray]]] = defaultdict(list)
    for number, own in enumerate(every):
        for look in own:
            by_scale[look.scale].append((number, look.code))
    found: dict[tuple[int, int], float] = {}
    for coded in by_scale.values():
        numbers = np.array([number for number, _ in coded])
        codes = np.stack([code for _, code in coded])
        for one, other, likeness in _close(codes, least):
            pair = (int(numbers[one]), int(numbers[other]))
            found[pair] = max(likeness, found.get(pair, 0.0))
    yield from ((*pair, likeness) for pair, likeness in sorted(found.items()))


def _density(picture: UInt8Image) -> Image.Image:
    """Return the optical density, base e, as a picture of floats not much larger than needed."""
    grey = Image.fromarray(picture).convert("L")
    factor = max(1, min(grey.size) // (4 * SIDE))
    return Image.fromarray(_DENSITY[np.asarray(grey.reduce(factor))])


def _framed(density: Image.Image, mpp: Mpp, scale: int) -> FloatArray:
    """Resample to a scale, keep the middling detail, and fade out towards the edges."""
    step = 2 ** (scale / 2)  # um
    wide, high = density.width * mpp.x / step, density.height * mpp.y / step
    size = max(1, int(wide)), max(1, int(high))
    box = (  # so that the scale is exact
        0.0,
        0.0,
        min(density.width, density.width * size[0] / wide),
        min(density.height, density.height * size[1] / high),
    )
    small = np.asarray(density.resize(size, Image.Resampling.BILINEAR, box=box))
    band = ndimage.gaussian_filter(small, _DETAIL)
    band -= ndimage.gaussian_filter(small, _SHADING, mode="nearest")
    spread = 3 * float(np.sqrt((band**2).mean()))
    band = np.clip(band, -spread, spread)  # the tissue's rim is no more than its inside
    height, width = band.shape
    band = (band - band.mean()) * np.outer(_fade(height), _fade(width))
    frame = np.zeros((SIDE, SIDE), np.float32)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    frame[top : top + height, left : left + width] = band
    return frame


def _fade(n: int) -> NDArray[np.float64]:
    to_edge = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5)
    return np.asarray(np.sin(np.pi / 2 * np.clip(to_edge / (_TAPER * n), 0, 1)) ** 2)


def _frequencies() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the frequencies (fy, fx) that are compared: half of a ring, as power is symmetric."""
    reach = np.arange(1 - SIDE // 2, SIDE // 2)
    fy, fx = np.meshgrid(reach, reach, indexing="ij")
    radius = np.hypot(fy, fx)
    half = (fy > 0) | ((fy == 0) & (fx > 0))
    kept = (radius >= _LOW) & (radius <= _HIGH) & half
    return fy[kept], fx[kept]


def _code(frame: FloatArray) -> FloatArray:
    energy = float((frame**2).sum())
    power = np.abs(np.fft.fftshift(np.fft.fft2(frame)))[1:, 1:] ** 2  # (63, 63), zero in the middle
    level = np.log(power + 1e-6 * energy + 1e-12)
    level -= ndimage.uniform_filter(level, _LOCAL)
    fy, fx = _frequencies()
    code = level[fy + SIDE // 2 - 1, fx + SIDE // 2 - 1]
    code = code - code.mean()
    length = float(np.linalg.norm(code))
    return np.asarray(code / length if length > 1e-6 else np.zeros_like(code), np.float32)


def _turned() -> list[NDArray[np.intp]]:
    """Return where each coefficient comes from if the picture is turned or mirrored.

    Eight ways of laying a picture give four spectra, since turning by half changes none: as it is,
    which is not in the answer, and three more.
    """
    fy, fx = _frequencies()
    place = np.zeros((SIDE, SIDE), np.intp)  # negative frequencies count from the end
    place[fy, fx] = place[-fy, -fx] = np.arange(len(fy))
    return [place[fx, fy], place[fy, -fx], place[-fx, fy]]


def _close(codes: FloatArray, least: float) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs (i < j) of rows whose product, in any turn, is `least` or more."""
    turns = _turned()
    for start in range(0, len(codes), _BLOCK):
        block = codes[start : start + _BLOCK]
        likeness = block @ codes[start:].T
        for turn in turns:
            np.maximum(likeness, block[:, turn] @ codes[start:].T, out=likeness)
        for i, j in np.argwhere(likeness >= least).tolist():
            if i < j:
                yield start + i, start + j, float(likeness[i, j])
