"""Which pictures meet: of one specimen, one a magnification, other pairs each epoch."""

from __future__ import annotations

from collections import Counter

from tests.training.masked.pictures import specimen
from wsikit.encoders.umae.cross_attention import MAGNIFICATIONS
from wsikit.training.masked.items import (
    Picture,
    make_specimen,
    training_items,
    validation_items,
)

SPECIMENS = [specimen(0), specimen(1, (5, 1, 2, 4)), specimen(2, (1, 1, 1, 1))]


def test_an_item_is_one_picture_a_magnification_of_one_specimen() -> None:
    items = training_items(SPECIMENS, True, 0, 0)
    assert len(items) == 3 + 5 + 1
    for item in items:
        names = [picture.slide_id.split("-") for picture in item.pictures]
        assert len({name for name, _ in names}) == 1
        assert tuple(int(magnification) for _, magnification in names) == MAGNIFICATIONS


def test_an_epoch_shows_every_picture_and_none_of_a_magnification_much_more_than_others() -> None:
    for epoch in range(3):
        shown = Counter(p for i in training_items(SPECIMENS, True, 0, epoch) for p in i.pictures)
        assert set(shown) == {p for one in SPECIMENS for own in one.pictures for p in own}
        for one in SPECIMENS:
            for own in one.pictures:
                counts = [shown[picture] for picture in own]
                assert sum(counts) == one.items
                assert max(counts) - min(counts) <= 1


def test_pairs_turns_and_masks_follow_from_seed_and_epoch() -> None:
    first, again = (training_items(SPECIMENS, True, 3, 7) for _ in range(2))
    assert first == again
    for other in (training_items(SPECIMENS, True, 3, 8), training_items(SPECIMENS, True, 4, 7)):
        assert {item.pictures for item in first} != {item.pictures for item in other}
        assert {item.seed for item in first}.isdisjoint({item.seed for item in other})
    assert len({item.seed for item in first}) == len(first)
    assert len({item.turns for item in first}) > 1


def test_a_specimens_pairs_do_not_depend_on_the_others() -> None:
    alone = {item for item in training_items(SPECIMENS[1:2], True, 0, 2)}
    assert alone < set(training_items(SPECIMENS, True, 0, 2))


def test_validation_is_the_same_each_time_and_upright() -> None:
    items = validation_items(SPECIMENS, 0)
    assert items == validation_items(SPECIMENS, 0)
    assert {turn for item in items for turn in item.turns} == {0}


def test_a_missing_magnification_drops_the_specimen_or_the_nearest_stands_in() -> None:
    found = {100: [Picture("a-100", 0)], 400: [Picture("a-400", 0)], 9: [Picture("a-9", 0)]}
    assert make_specimen("a", found) is None
    assert make_specimen("a", {}, "nearest") is None
    filled = make_specimen("a", found, "nearest")
    assert filled is not None
    shown = [own[0].slide_id for own in filled.pictures]
    assert shown == ["a-100", "a-100", "a-100", "a-400"]
