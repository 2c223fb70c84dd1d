from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from wsikit.training.patches.plan import (
    PatchSlide,
    patches_by_class,
    training_plan,
    validation_plan,
)

SLIDES = (PatchSlide("a", 0, 5), PatchSlide("b", 1, 40), PatchSlide("c", 1, 12))


def pairs(plan):
    return list(zip(plan.slides.tolist(), plan.indices.tolist(), strict=True))


def test_all_patches_once_where_there_is_no_limit() -> None:
    plan = training_plan(SLIDES, None, True, seed=1, epoch=0)
    assert sorted(pairs(plan)) == [(n, i) for n, s in enumerate(SLIDES) for i in range(s.patches)]
    assert pairs(plan) != sorted(pairs(plan))


def test_a_limit_draws_without_repetition_and_anew_each_epoch() -> None:
    seen = set()
    for epoch in range(30):
        plan = training_plan(SLIDES, 10, True, seed=1, epoch=epoch)
        drawn = pairs(plan)
        assert len(set(drawn)) == len(drawn) == 25
        assert Counter(plan.slides.tolist()) == {0: 5, 1: 10, 2: 10}
        seen |= set(drawn)
    assert len(seen) == 5 + 40 + 12
    assert patches_by_class(SLIDES, 10, 3) == [5, 20, 0]
    assert patches_by_class(SLIDES, None, 2) == [5, 52]


def test_seed_and_epoch_decide_everything() -> None:
    one, again = (training_plan(SLIDES, 10, True, seed=4, epoch=2) for _ in range(2))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    for other in (dict(seed=5, epoch=2), dict(seed=4, epoch=3)):
        plan = training_plan(SLIDES, 10, True, **other)
        assert pairs(plan) != pairs(one)
        assert plan.turns.tolist() != one.turns.tolist()


def test_what_is_drawn_of_a_slide_does_not_hang_on_the_others() -> None:
    whole = {i for n, i in pairs(training_plan(SLIDES, 10, False, 0, 0)) if n == 1}
    alone = {i for _, i in pairs(training_plan(SLIDES[1:2], 10, False, 0, 0))}
    assert whole == alone


def test_turns_are_even_or_absent() -> None:
    slides = [PatchSlide("a", 0, 8000)]
    turns = training_plan(slides, None, True, 0, 0).turns
    counts = np.bincount(turns, minlength=8)
    assert len(counts) == 8
    assert counts.min() > 900
    assert not training_plan(slides, None, False, 0, 0).turns.any()


@pytest.mark.parametrize("limit", [None, 10])
def test_validation_is_as_it_is_and_always_the_same(limit) -> None:
    plan = validation_plan(SLIDES, limit, 3)
    assert not plan.turns.any()
    assert pairs(plan) == sorted(pairs(plan)) == pairs(validation_plan(SLIDES, limit, 3))
    assert len(plan) == (57 if limit is None else 25)
