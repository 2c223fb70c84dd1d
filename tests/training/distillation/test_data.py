from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from tests.training.distil_pictures import mixed_bag, mixed_side, patches_of, read_mixed
from wsikit.training.distillation.data import (
    NEGATIVE,
    DistilBatches,
    bank_starts,
    fetch_features,
    fetch_pictures,
    paired_plan,
)
from wsikit.training.patches.plan import PatchSlide, validation_plan


def slides_of(positive: list[int], negative: list[int]) -> list[PatchSlide]:
    """Slides with these numbers of patches, of both kinds in turn as long as there are."""
    both = [("n", 0, count) for count in negative] + [("p", 1, count) for count in positive]
    order = np.random.default_rng(0).permutation(len(both))
    return [PatchSlide(f"{both[i][0]}{i}", *both[i][1:]) for i in order]


@pytest.mark.parametrize(("positive", "negative"), [([7, 9], [30]), ([40], [3, 2]), ([1], [1])])
def test_an_epoch_shows_every_positive_patch_once_and_as_many_negative_ones(
    positive: list[int], negative: list[int]
) -> None:
    slides = slides_of(positive, negative)
    plan = paired_plan(slides, None, 0, 0)
    shown = Counter(zip(plan.slides.tolist(), plan.indices.tolist(), strict=True))
    count = sum(positive)
    assert len(plan) == 2 * count
    labels = np.array([slides[number].label for number in plan.slides])
    assert labels.tolist() == [1, 0] * count
    of_positive = [n for (slide, _), n in shown.items() if slides[slide].label]
    of_negative = [n for (slide, _), n in shown.items() if not slides[slide].label]
    assert of_positive == [1] * count
    assert len(of_negative) == min(count, sum(negative))
    assert max(of_negative) - min(of_negative) <= 1
    assert all(index < slides[slide].patches for slide, index in shown)


def test_epochs_and_seeds_differ_and_nothing_else_does() -> None:
    slides = slides_of([20, 15], [25, 9])
    one = paired_plan(slides, 10, 3, 1)
    assert all(
        np.array_equal(a, b) for a, b in zip(one, paired_plan(slides, 10, 3, 1), strict=True)
    )
    for other in (paired_plan(slides, 10, 3, 2), paired_plan(slides, 10, 4, 1)):
        assert not np.array_equal(one.indices, other.indices)
    assert len(one) == 40


def test_every_patch_of_a_positive_slide_has_a_place_of_its_own() -> None:
    slides = slides_of([4, 6, 5], [8, 3])
    starts = bank_starts(slides)
    assert starts[-1] == 15
    places = {int(starts[n] + i) for n, s in enumerate(slides) if s.label for i in range(s.patches)}
    assert places == set(range(15))


@pytest.mark.parametrize("batch_size", [2, 8, 14, 500])
def test_batches_hold_both_kinds_and_know_their_patches(batch_size: int) -> None:
    side = mixed_side(range(6))
    batches = DistilBatches(
        side.slides, lambda epoch: paired_plan(side.slides, 9, 0, epoch), batch_size,
        fetch_pictures(side),
    )  # fmt: skip
    starts = bank_starts(side.slides)
    seen = []
    for batch in batches:
        positive = batch.positions != NEGATIVE
        assert positive.any()
        assert (~positive).any()
        assert abs(int(positive.sum()) - int((~positive).sum())) <= 1
        for patch, slide, position in zip(*batch, strict=True):
            assert (position != NEGATIVE) == bool(side.slides[slide].label)
            if position != NEGATIVE:
                index = int(position - starts[slide])
                picture = read_mixed(side.slides[slide].slide_id, index)
                np.testing.assert_array_equal(patch, picture.transpose(2, 0, 1))
                seen.append(int(position))
    assert len(seen) == len(set(seen)) == 27
    assert len(list(batches)) == len(batches)


def test_features_are_gathered_by_slide_and_come_in_the_order_of_the_plan() -> None:
    slides = [PatchSlide(str(n), n % 2, patches_of(str(n))) for n in range(5)]
    read = []

    def load(slide_id: str) -> torch.Tensor:
        read.append(slide_id)
        return mixed_bag(slide_id).features

    for plan in (paired_plan(slides, 7, 0, 0), validation_plan(slides, None, 0)):
        read.clear()
        rows = torch.cat(list(fetch_features(slides, load)(plan, 6)))
        wanted = [
            mixed_bag(slides[s].slide_id).features[i]
            for s, i in zip(plan.slides, plan.indices, strict=True)
        ]
        assert torch.equal(rows, torch.stack(wanted))
        assert len(read) == len(set(read)) <= 5


def test_the_epoch_is_chosen_as_lightning_does() -> None:
    side = mixed_side(range(4))
    batches = DistilBatches(
        side.slides, lambda epoch: paired_plan(side.slides, 9, 0, epoch), 16, fetch_pictures(side)
    )
    first = [batch.positions.tolist() for batch in batches]
    batches.sampler.set_epoch(1)
    assert [batch.positions.tolist() for batch in batches] != first
    batches.sampler.set_epoch(0)
    assert [batch.positions.tolist() for batch in batches] == first
