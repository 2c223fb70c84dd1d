from __future__ import annotations

import numpy as np
import pytest
import torch

from wsikit.errors import SlideError
from wsikit.heads.bag import Bag
from wsikit.training.bags.predict import predict_bags


def test_predictions_are_the_softmax_of_the_head(tiny_head, load):
    head = tiny_head(classes=3).train()
    found = list(predict_bags(head, load, ["3", "8"], "cpu"))
    assert [item.slide_id for item in found] == ["3", "8"]
    assert not head.training
    for slide_id, p, patches, attention in found:
        scores = head(load(slide_id))
        count = len(load(slide_id).features)
        assert (p.shape, patches.shape, attention.shape) == ((3,), (count, 3), (count,))
        assert p.dtype == patches.dtype == attention.dtype == np.float32
        exponents = np.exp(scores.logits.detach().numpy())
        assert p == pytest.approx(exponents / exponents.sum(), rel=1e-5)
        assert patches.sum(1) == pytest.approx(np.ones(count), rel=1e-5)
        assert attention.sum() == pytest.approx(1, rel=1e-5)


def test_one_bag_at_a_time_and_no_mode_leaks_between_them(tiny_head, load):
    loaded = []

    def watch(slide_id: str) -> Bag:
        loaded.append(slide_id)
        return load(slide_id)

    answers = predict_bags(tiny_head(), watch, ["1", "2"], "cpu")
    next(answers)
    assert loaded == ["1"]
    assert not torch.is_inference_mode_enabled()


def test_scores_that_are_not_finite_name_the_slide(tiny_head, load):
    def broken(slide_id: str) -> Bag:
        bag = load(slide_id)
        return Bag(bag.features * float("nan"), bag.rowcol)

    with pytest.raises(SlideError, match="slide '4' has scores that are not finite"):
        list(predict_bags(tiny_head(), broken, ["4"], "cpu"))
