"""Which four pictures make an item: one a magnification, of the same specimen slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np

from wsikit.encoders.umae.cross_attention import MAGNIFICATIONS
from wsikit.training.patches.turns import TURNS

Missing = Literal["drop", "nearest"]
"""What becomes of a specimen that lacks a magnification."""


class Picture(NamedTuple):
    """A picture in a store.

    Attributes:
        slide_id: the store's slide.
        number: of the picture in it.
    """

    slide_id: str
    number: int


class Specimen(NamedTuple):
    """All pictures of a specimen slide.

    Attributes:
        name: of the specimen.
        pictures: for each of `MAGNIFICATIONS`, its pictures; none may be empty.
    """

    name: str
    pictures: tuple[tuple[Picture, ...], ...]

    @property
    def items(self) -> int:
        """How many items an epoch makes of it: each picture is shown at least once."""
        return max(map(len, self.pictures))


class Item(NamedTuple):
    """Four pictures that are seen together.

    Attributes:
        pictures: one a magnification, in the order of `MAGNIFICATIONS`.
        turns: how each is laid down; see `turned`.
        seed: decides what is hidden of them.
    """

    pictures: tuple[Picture, ...]
    turns: tuple[int, ...]
    seed: tuple[int, ...]


def make_specimen(
    name: str, found: Mapping[int, Sequence[Picture]], missing: Missing = "drop"
) -> Specimen | None:
    """Return a specimen of the pictures there are.

    Args:
        name: of the specimen.
        found: pictures by magnification; keys beside `MAGNIFICATIONS` are ignored.
        missing: `drop` returns None where a magnification has no picture; `nearest` shows in its
            place those of the magnification nearest by ratio, the lower one of two.
    """
    present = [one for one in MAGNIFICATIONS if found.get(one)]
    if not present or (missing == "drop" and len(present) < len(MAGNIFICATIONS)):
        return None
    return Specimen(
        name, tuple(tuple(found[_nearest(wanted, present)]) for wanted in MAGNIFICATIONS)
    )


def _nearest(wanted: int, present: Sequence[int]) -> int:
    return min(present, key=lambda one: (max(one, wanted) / min(one, wanted), one))


def training_items(
    specimens: Sequence[Specimen], augment: bool, seed: int, epoch: int
) -> list[Item]:
    """Pair the pictures of an epoch.

    The source does not say how; pictures of one specimen at two magnifications show other places.
    So each magnification's pictures are shuffled and put side by side, those of a magnification
    with fewer coming again, shuffled anew; next epoch the pairs are others. What is drawn of one
    specimen does not depend on the others.

    Args:
        specimens: of one side of the split.
        augment: whether pictures are turned and flipped, each on its own.
        seed: the fit's.
        epoch: from 0.

    Returns:
        The items in the order of the epoch.
    """
    items = [item for one in specimens for item in _paired(one, augment, seed, epoch)]
    order = np.random.default_rng([seed, epoch]).permutation(len(items))
    return [items[n] for n in order]


def validation_items(specimens: Sequence[Specimen], seed: int) -> list[Item]:
    """Pair the pictures that judge every epoch: the same each time, as they are."""
    return [item for one in specimens for item in _paired(one, False, seed, 0)]


def _paired(specimen: Specimen, augment: bool, seed: int, epoch: int) -> list[Item]:
    own = crc32(specimen.name.encode())
    rng = np.random.default_rng([seed, epoch, own])
    columns = [_shuffled(pictures, specimen.items, rng) for pictures in specimen.pictures]
    turns = rng.integers(TURNS, size=(specimen.items, len(MAGNIFICATIONS)))
    if not augment:
        turns[:] = 0
    return [
        Item(tuple(pictures), tuple(turn.tolist()), (seed, epoch, own, number))
        for number, (*pictures, turn) in enumerate(zip(*columns, turns, strict=True))
    ]


def _shuffled(pictures: Sequence[Picture], count: int, rng: np.random.Generator) -> list[Picture]:
    rounds = -(-count // len(pictures))
    order = [n for _ in range(rounds) for n in rng.permutation(len(pictures))]
    return [pictures[n] for n in order[:count]]
