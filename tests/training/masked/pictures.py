"""Made-up specimens: each has its own coarse pattern, which all four magnifications share."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from wsikit.encoders.umae.cross_attention import MAGNIFICATIONS
from wsikit.encoders.umae.masks import MaskOptions
from wsikit.encoders.umae.model import UMAE, UMAEOptions
from wsikit.encoders.umae.sizes import UMAESize
from wsikit.training.masked.fit import MaskedSides
from wsikit.training.masked.items import Picture, Specimen, make_specimen

SIZE = UMAESize(20, 4, 16, 1, 2, 16, decoder_depth=1, decoder_heads=2)
COUNTS = (2, 3, 2, 1)


def specimen(number: int, counts: Sequence[int] = COUNTS) -> Specimen:
    found = {
        magnification: [Picture(f"{number}-{magnification}", n) for n in range(count)]
        for magnification, count in zip(MAGNIFICATIONS, counts, strict=True)
    }
    made = make_specimen(str(number), found)
    assert made is not None
    return made


def read_picture(slide_id: str, index: int) -> np.ndarray:
    """A wave whose direction and colour are the specimen's, and its place the picture's."""
    number, _, magnification = slide_id.partition("-")
    own = np.random.default_rng(int(number))
    angle, colour = own.random() * np.pi, own.random(3)
    phase = np.random.default_rng([crc32(slide_id.encode()), index]).random() * 6
    y, x = np.mgrid[:24, :30]
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / (2 + int(magnification) / 200) + phase)
    return (127 + 120 * wave[..., None] * colour).astype(np.uint8)


def sides(train: int = 4, val: int = 2) -> MaskedSides:
    return MaskedSides(
        tuple(specimen(n) for n in range(train)),
        tuple(specimen(100 + n) for n in range(val)),
        read_picture,
    )


def tiny(seed: int = 0, **switches: object) -> UMAE:
    mask = switches.pop("mask", MaskOptions())
    return UMAE(UMAEOptions("tiny", mask, **switches), SIZE, seed)
