"""Damage files as discs, copies and attackers do: seeded, so that each mutant can be had again."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.slides.mutant_fields import Field

LIES = (0, 1, 2, 3, 7, 16, 255, 256, 4097, 65535, 65536, 1 << 20, (1 << 24) + 1, (1 << 28) + 5,
        (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)  # fmt: skip
"""What headers claim: nothing, one, a little too much, and the limits of each word."""

NEAR_FIELD = 24
"""Bytes around a header's number that count as header."""

Rng = np.random.Generator


@dataclass(frozen=True)
class Part:
    """One file of a slide.

    Attributes:
        data: its content when sound.
        fields: the numbers in its headers.
        links: values that a link between directories can take.
        sealed: whether chunks carry a checksum (PNG), which a mutant may repair.
    """

    data: bytes
    fields: Sequence[Field] = ()
    links: Sequence[int] = ()
    sealed: bool = False


@dataclass(frozen=True)
class Original:
    """A sound slide that mutants are made of.

    Attributes:
        name: of the slide's file, or of its folder where it has several parts.
        parts: its files by name.
        victims: the parts that are damaged; all where empty.
    """

    name: str
    parts: dict[str, Part]
    victims: Sequence[str] = field(default=())

    def path(self, folder: Path) -> Path:
        """Return what a reader is given."""
        return folder / self.name

    def write(self, folder: Path, mutant: dict[str, bytes] | None = None) -> Path:
        """Write the sound slide, or one with some parts replaced."""
        path = self.path(folder)
        inside = path if len(self.parts) > 1 else folder
        inside.mkdir(parents=True, exist_ok=True)
        for name, part in self.parts.items():
            (inside / name).write_bytes((mutant or {}).get(name, part.data))
        return path


class Mutant(NamedTuple):
    """One damaged slide: what was done to it, and the parts that changed."""

    original: Original
    how: str
    changed: dict[str, bytes]


def mutant(originals: Sequence[Original], seed: int, number: int) -> Mutant:
    """Return the mutant of a seed and a number, the same each time."""
    rng = np.random.default_rng((seed, number))
    original = originals[number % len(originals)]
    name = str(rng.choice(list(original.victims or original.parts)))
    part = original.parts[name]
    content = bytearray(part.data)
    how = []
    for _ in range(1 + (rng.random() < 0.3)):
        ways = [way for way in WAYS if part.fields or way not in FIELD_WAYS]
        way = ways[rng.integers(len(ways))]
        how.append(way.__name__)
        way(content, part, rng)
    if part.sealed and rng.random() < 0.7:
        _reseal(content)
    return Mutant(original, "+".join(how), {name: bytes(content)})


def _spot(content: bytearray, part: Part, rng: Rng) -> int:
    """Choose a byte: mostly in a header."""
    if part.fields and rng.random() < 0.8:
        near = part.fields[rng.integers(len(part.fields))].at + rng.integers(NEAR_FIELD)
        return int(min(near, max(0, len(content) - 1)))
    return int(rng.integers(max(1, len(content))))


def flip_bits(content: bytearray, part: Part, rng: Rng) -> None:
    """Flip one to eight single bits."""
    for _ in range(rng.integers(1, 9)):
        at = _spot(content, part, rng)
        if at < len(content):
            content[at] ^= 1 << int(rng.integers(8))


def overwrite_run(content: bytearray, part: Part, rng: Rng) -> None:
    """Set up to 64 bytes to 0, to 255 or to noise."""
    at, length = _spot(content, part, rng), int(rng.integers(1, 65))
    end = min(len(content), at + length)
    runs = (bytes(end - at), b"\xff" * (end - at), rng.bytes(max(0, end - at)))
    content[at:end] = runs[rng.integers(3)]


def cut_off(content: bytearray, part: Part, rng: Rng) -> None:
    """Lose the end of the file."""
    del content[_spot(content, part, rng) :]


def shift(content: bytearray, part: Part, rng: Rng) -> None:
    """Lose or gain a few bytes in the middle."""
    at, length = _spot(content, part, rng), int(rng.integers(1, 40))
    if rng.random() < 0.5:
        del content[at : at + length]
    else:
        content[at:at] = rng.bytes(length)


def _put(content: bytearray, spot: Field, value: int) -> None:
    if spot.at + spot.size <= len(content):
        masked = value & ((1 << (8 * spot.size)) - 1)
        content[spot.at : spot.at + spot.size] = masked.to_bytes(spot.size, spot.order)


def _value(content: bytearray, spot: Field) -> int:
    return int.from_bytes(content[spot.at : spot.at + spot.size], spot.order)


def lie(content: bytearray, part: Part, rng: Rng) -> None:
    """Put a false number into one to three fields."""
    for _ in range(rng.integers(1, 4)):
        spot = part.fields[rng.integers(len(part.fields))]
        _put(content, spot, LIES[rng.integers(len(LIES))])


def lie_by_name(content: bytearray, part: Part, rng: Rng) -> None:
    """Multiply or replace every field of one name, as a header that lies with one voice."""
    names = sorted({spot.name for spot in part.fields})
    for name in rng.choice(names, min(len(names), int(rng.integers(1, 4))), replace=False):
        factor, value = int(rng.choice([2, 3, 17, 256, 4096])), LIES[rng.integers(len(LIES))]
        scale = rng.random() < 0.6
        for spot in (spot for spot in part.fields if spot.name == name):
            _put(content, spot, _value(content, spot) * factor if scale else value)


def swap(content: bytearray, part: Part, rng: Rng) -> None:
    """Exchange two numbers of one size."""
    one = part.fields[rng.integers(len(part.fields))]
    alike = [spot for spot in part.fields if spot.size == one.size]
    other = alike[rng.integers(len(alike))]
    a, b = _value(content, one), _value(content, other)
    _put(content, one, b)
    _put(content, other, a)


def relink(content: bytearray, part: Part, rng: Rng) -> None:
    """Lead directories to each other in a circle, or to where there is none."""
    links = [spot for spot in part.fields if spot.name in ("link", "SubIFDs")]
    if not links or not part.links:
        lie(content, part, rng)
        return
    for _ in range(rng.integers(1, 3)):
        spot = links[rng.integers(len(links))]
        target = part.links[rng.integers(len(part.links))]
        _put(content, spot, target if rng.random() < 0.8 else int(rng.integers(len(content))))


WAYS: tuple[Callable[[bytearray, Part, Rng], None], ...] = (
    flip_bits, overwrite_run, cut_off, shift, lie, lie, lie_by_name, lie_by_name, swap, relink,
)  # fmt: skip
FIELD_WAYS = (lie, lie_by_name, swap, relink)


def _reseal(content: bytearray) -> None:
    """Make the checksums of a PNG's chunks true again, as far as its lengths lead."""
    at = 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(content):
            return
        content[end : end + 4] = zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
