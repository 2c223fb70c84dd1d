"""Soft labels of two classes of which one has a set share: optimal transport by Sinkhorn-Knopp.

The problem, as CN115482232A prints it, over the N patches of positive slides, whose scores O say
how likely each is to be positive:

    min_Y CE(O, Y)   subject to   sum Y = K N

It is a transport problem: each patch brings a mass of one to two classes that take K N and
(1 - K) N, at the cost -log O. With an entropic term of weight epsilon (Cuturi 2013), so that it can
be solved at this size, the answer is

    Y_i = sigmoid(logit_i / epsilon + offset)

for the one offset that meets the constraint.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TOLERANCE = 1e-7
"""How far the share of positive labels may be from the wanted one."""


def soft_labels(logits: Tensor, epsilon: float, offset: Tensor | float) -> Tensor:
    """Return labels at an offset from `label_offset`; no finite logit is too confident.

    Args:
        logits: (N,) floats, log odds of being positive.
        epsilon: see `label_offset`.
        offset: one number; infinite for labels that are all 0 or all 1.

    Returns:
        (N,) float64 in 0..1.
    """
    return torch.sigmoid(logits.double() / epsilon + offset)


def label_offset(
    logits: Tensor, share: float, epsilon: float, iterations: int, start: float = 0.0
) -> float:
    """Find the offset at which labels have their share, by Sinkhorn-Knopp in log space.

    Sinkhorn-Knopp scales rows and columns in turn until both have their sums. With two classes the
    rows' scaling is the sigmoid, and the columns' moves the offset by

        logit(share) - logit(mean label)

    which goes towards the answer and never past it, but slowly where logits are confident: the
    further apart they are, the less a step brings. So each step is made longer by Newton's factor,
    mean (1 - mean) / mean of label (1 - label), which is known anyway; and where that would leave
    the bounds known so far, or stops gaining, the bounds are halved. The answer is the same (the
    tests hold it to plain Sinkhorn-Knopp and to a linear programme), mostly after three to six
    steps.

    Args:
        logits: (N,) finite floats, log odds of being positive; N >= 1.
        share: wanted mean of the labels, 0 to 1.
        epsilon: weight of the entropy, above 0: towards 0 the `share` with the highest logits get 1
            and the rest 0; at 1 labels are the scores' own probabilities, shifted; beyond, flatter.
        iterations: at most so many steps. 100 meet the constraint to `TOLERANCE`; with less, labels
            may have another share.
        start: an offset to start from, such as that of nearly the same logits.

    Returns:
        The offset, for `soft_labels`; infinite where `share` is 0 or 1.
    """
    if share <= 0 or share >= 1:
        return math.inf if share >= 1 else -math.inf
    wanted = _logit(share)
    scaled = logits.double() / epsilon  # (N,)
    low, high = wanted - float(scaled.max()), wanted - float(scaled.min())
    offset = min(max(start, low), high)
    before = high - low
    for _ in range(iterations):
        labels = torch.sigmoid(scaled + offset)
        mean = float(labels.mean())
        if abs(mean - share) <= TOLERANCE:
            break
        low, high = (offset, high) if mean < share else (low, offset)
        step = _step(mean, float((labels * (1 - labels)).mean()), wanted)
        if not low < offset + step < high or abs(step) > before / 2:
            step = (low + high) / 2 - offset
        offset, before = offset + step, abs(step)
    return offset


def _step(mean: float, slope: float, wanted: float) -> float:
    """Return Sinkhorn's step times Newton's factor; infinite where labels are all but 0 and 1."""
    if not 0 < mean < 1 or slope <= 0:
        return math.inf
    return (wanted - _logit(mean)) * mean * (1 - mean) / slope


def _logit(share: float) -> float:
    return math.log(share) - math.log1p(-share)
