"""Score bags with a trained head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wsikit.errors import SlideError
from wsikit.heads.bag import Bag, Head
from wsikit.training.bags.bags import LoadBag
from wsikit.types import FloatArray


class BagPrediction(NamedTuple):
    """What a head says of one slide, as numpy.

    Attributes:
        slide_id: the slide.
        probabilities: (C,) float32, sums to one.
        patch_probabilities: (N, C) float32, rows sum to one; None where the head has none.
        attention: (N,) float32, sums to one; None where the head has none.
    """

    slide_id: str
    probabilities: FloatArray
    patch_probabilities: FloatArray | None
    attention: FloatArray | None


def predict_bags(
    head: Head, load: LoadBag, slide_ids: Iterable[str], device: torch.device | str
) -> Iterator[BagPrediction]:
    """Score slides one after another; one bag is in memory at a time.

    Puts the head on `device` in evaluation mode and leaves it there.

    Args:
        head: a trained head.
        load: reads the bag of a slide id.
        slide_ids: the slides, in the order of the answer.
        device: where to run.

    Yields:
        One prediction a slide.

    Raises:
        SlideError: a slide's scores are not finite.
    """
    head.to(device).eval()
    for slide_id in slide_ids:
        yield predict_bag(head, slide_id, load(slide_id), device)


@torch.inference_mode()
def predict_bag(head: Head, slide_id: str, bag: Bag, device: torch.device | str) -> BagPrediction:
    """Score one bag with a head that is on `device` and in evaluation mode.

    Raises:
        SlideError: the scores are not finite.
    """
    scores = head(bag.to(device))
    patches, attention = scores.patch_logits, scores.attention
    return BagPrediction(
        slide_id,
        _checked(slide_id, torch.softmax(scores.logits.float(), dim=-1)),  # (C,)
        None if patches is None else _checked(slide_id, torch.softmax(patches.float(), dim=-1)),
        None if attention is None else _checked(slide_id, attention.float()),
    )


def _checked(slide_id: str, scores: Tensor) -> FloatArray:
    if not torch.isfinite(scores).all():
        raise SlideError(f"slide '{slide_id}' has scores that are not finite", "check its features")
    return scores.cpu().numpy()
