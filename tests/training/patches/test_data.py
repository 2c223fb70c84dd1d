from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from tests.training.patch_pictures import PX, read_patch, side_of
from wsikit.errors import SlideError
from wsikit.training.patches.data import PatchBatches, PatchData, PatchSide
from wsikit.training.patches.plan import training_plan
from wsikit.training.patches.turns import turned


def batches_of(side: PatchSide, batch_size: int, augment: bool = True) -> PatchBatches:
    return PatchBatches(
        side, lambda epoch: training_plan(side.slides, None, augment, 7, epoch), batch_size
    )


def test_every_patch_comes_with_its_slides_label_and_its_exact_pixels() -> None:
    side = side_of(range(5))
    batches = batches_of(side, 8)
    batches.set_epoch(3)
    plan, at = training_plan(side.slides, None, True, 7, 3), 0
    for batch in batches:
        assert batch.pixels.dtype == torch.uint8
        assert batch.pixels.shape[1:] == (3, PX, PX)
        for pixels, label, slide_id in zip(*batch, strict=True):
            number = int(plan.slides[at])
            assert (slide_id, int(label)) == (str(number), number % 2)
            expected = turned(read_patch(slide_id, int(plan.indices[at])), int(plan.turns[at]))
            np.testing.assert_array_equal(pixels.numpy(), expected.transpose(2, 0, 1))
            at += 1
    assert at == len(plan) == sum(slide.patches for slide in side.slides)


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(20, [16, 15, 15, 15]), (60, [31, 30]), (99, [61])]
)
def test_batches_differ_by_one_at_most(batch_size: int, sizes: list[int]) -> None:
    batches = batches_of(side_of(range(4), patches=14), batch_size)
    found = [len(batch.labels) for batch in batches]
    assert len(batches) == len(found)
    assert sum(found) == sum(slide.patches for slide in side_of(range(4), patches=14).slides)
    assert max(found) - min(found) <= 1
    assert max(found) <= batch_size


def test_it_reads_a_little_ahead_and_no_further() -> None:
    met = []
    side = PatchSide(
        side_of(range(4)).slides, lambda *what: (met.append(what), read_patch(*what))[1]
    )
    passing = iter(batches_of(side, 5))
    next(passing)
    assert len(met) <= 4 * 5
    passing.close()
    assert threading.active_count() < 20


def test_a_patch_that_cannot_be_read_ends_it_with_its_own_error() -> None:
    def broken(slide_id: str, index: int):
        raise SlideError(f"{slide_id}: patch {index} is damaged")

    with pytest.raises(SlideError, match="is damaged"):
        list(batches_of(PatchSide(side_of(range(3)).slides, broken), 4))


def test_the_data_module_augments_training_alone() -> None:
    data = PatchData(
        side_of(range(4)), side_of([8, 9]), batch_size=9, per_slide=6, augment=True, seed=1
    )
    train, val = data.train_dataloader(), data.val_dataloader()
    first = [batch.pixels for batch in train]
    train.sampler.set_epoch(1)
    assert not torch.equal(first[0], next(iter(train)).pixels)
    assert sum(map(len, first)) == 24
    before = [batch.pixels for batch in val]
    val.sampler.set_epoch(1)
    for one, other in zip(before, val, strict=True):
        assert torch.equal(one, other.pixels)
        for pixels, slide_id in zip(other.pixels, other.slide_ids, strict=True):
            wanted = pixels.numpy().transpose(1, 2, 0)
            count = 12 + int(slide_id) % 3
            assert any(np.array_equal(read_patch(slide_id, i), wanted) for i in range(count))
