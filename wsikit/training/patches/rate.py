"""The learning rate of an epoch, read off the epochs before it: so that it survives any kill."""

from __future__ import annotations

from collections.abc import Sequence


def plateau_rate(lr: float, shortfalls: Sequence[float], factor: float, patience: int) -> float:
    """Lower the rate each time so many epochs in a row were no better than the best before them.

    It is what torch's and Keras's ReduceLROnPlateau do (without their threshold and cooldown), as a
    function of the past instead of a state that has to be kept.

    Args:
        lr: the first epoch's, above 0.
        shortfalls: of the epochs so far, what they are judged by: the lower, the better.
        factor: what the rate is multiplied by, above 0, up to 1.
        patience: how many epochs in a row must be no better, at least 1.

    Returns:
        The next epoch's rate.
    """
    best, waited = float("inf"), 0
    for shortfall in shortfalls:
        if shortfall < best:
            best, waited = shortfall, 0
            continue
        waited += 1
        if waited == patience:
            lr, waited = lr * factor, 0
    return lr
