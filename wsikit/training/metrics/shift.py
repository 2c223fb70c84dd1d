"""Tell a vector that lies far from a set of others, at a known rate of false alarms.

Distance is Mahalanobis's, by the covariance of Ledoit and Wolf ("A well-conditioned estimator for
large-dimensional covariance matrices", 2004), which stays invertible where there are fewer vectors
than dimensions. Departure: beyond the `MAX_AXES` main directions the shrunk variances are replaced
by their mean, so that a set of 2,560-wide vectors is kept in little room.

The limit is no quantile of a chi-squared distribution, which vectors of slides do not follow, but
of distances of the set's own vectors, each from a cloud that was fitted without its patient (Vovk,
"Cross-conformal predictors", 2015). The (n + 1)(1 - `RATE`) smallest of n such distances is passed
by a new vector of the same kind at most about once in 1 / `RATE` times. Of fewer than 39 the
largest is taken, and the rate is 1 / (n + 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Vector = NDArray[np.float64]

RATE = 0.025
"""Share of vectors of the set's own kind beyond the limit, where there are enough to tell."""

LEAST_VECTORS = 10
"""Of fewer, nothing is said."""

LEAST_GROUPS = 5
"""Nor of fewer patients: what is common to one patient would pass for common to all."""

PARTS = 10
"""Into how many parts patients are dealt, each held out once."""

MAX_AXES = 64
"""Directions in which a cloud's extent is kept."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """Hold where a set of vectors lies, and how far it reaches.

    Attributes:
        mean: (D,) float64.
        axes: (R, D) float32, directions of length one, at right angles to each other.
        variances: (R,) float64, the shrunk variance along each.
        rest: the shrunk variance in every other direction.
    """

    mean: Vector
    axes: NDArray[np.float32]
    variances: Vector
    rest: float

    @classmethod
    def of(cls, vectors: Vector) -> Cloud:
        """Fit a cloud.

        Args:
            vectors: (N, D) float64, N >= 2.
        """
        count, width = vectors.shape
        mean = vectors.mean(axis=0)
        centred = vectors - mean
        wide = width > count
        products = (centred @ centred.T if wide else centred.T @ centred) / count
        kept = min(len(products), MAX_AXES)
        values, found = eigh(products, subset_by_index=(len(products) - kept, len(products) - 1))
        # Of N centred vectors no more than N - 1 directions hold anything but rounding.
        real = values > 1e-10 * max(float(values[-1]), 0.0)
        values, found = values[real], found[:, real]
        axes = (centred.T @ found / np.sqrt(count * values)).T if wide else found.T
        trace = float(np.trace(products))
        shrinkage = ledoit_wolf_shrinkage(centred, trace, float((products**2).sum()))
        level = trace / width
        variances = (1 - shrinkage) * values + shrinkage * level
        # What is left of the trace, spread over the directions that are left.
        others = max(1, width - len(values))
        left = (1 - shrinkage) * max(0.0, trace - float(values.sum())) / others
        rest = left + shrinkage * level
        # Vectors that are all alike: any other one is then infinitely far, and 0 / 0 is no number.
        least = float(np.finfo(np.float64).tiny)
        return cls(mean, axes.astype(np.float32), np.maximum(variances, least), max(rest, least))

    def distance(self, vector: Vector) -> float:
        """Return how many standard deviations a (D,) vector lies from the mean."""
        off = vector - self.mean
        along = self.axes.astype(np.float64) @ off
        outside = 0.0
        if len(self.axes) < len(off):
            outside = max(0.0, float(off @ off) - float(along @ along))
        with np.errstate(over="ignore"):
            squared = float((along**2 / self.variances).sum()) + outside / self.rest
        return math.sqrt(squared)


@dataclass(frozen=True)
class Limit:
    """Say from which distance on a vector counts as far.

    Attributes:
        distance: the limit.
        rate: share of vectors of the set's own kind expected beyond it, at most.
    """

    distance: float
    rate: float


def ledoit_wolf_shrinkage(centred: Vector, trace: float, squares: float) -> float:
    """Return the share of the scaled identity in the covariance, 0..1.

    Args:
        centred: (N, D) float64, less their mean.
        trace: of their covariance, divided by N.
        squares: sum of that covariance's squared entries.
    """
    count, width = centred.shape
    fourth = float(((centred**2).sum(axis=1) ** 2).sum())
    beta = (fourth / count - squares) / (width * count)
    delta = (squares - trace**2 / width) / width
    beta = min(beta, delta)
    return 0.0 if beta <= 0 else beta / delta


def enough(groups: Sequence[str]) -> bool:
    """Tell whether there are vectors, and patients, enough to set a limit.

    Args:
        groups: the patient of each vector.
    """
    return len(groups) >= LEAST_VECTORS and len(set(groups)) >= LEAST_GROUPS


def held_out_distances(vectors: Vector, groups: Sequence[str]) -> Vector:
    """Return the distance of each vector from a cloud of the vectors of other patients.

    Args:
        vectors: (N, D) float64; `enough` of them.
        groups: the patient of each.

    Returns:
        (N,) float64.
    """
    order = {group: number for number, group in enumerate(sorted(set(groups)))}
    part = np.array([order[group] % PARTS for group in groups])
    distances = np.empty(len(vectors))
    for number in np.unique(part):
        out = part == number
        cloud = Cloud.of(vectors[~out])
        distances[out] = [cloud.distance(vector) for vector in vectors[out]]
    return distances


def limit_of(distances: Vector) -> Limit:
    """Return the limit that few vectors of the same kind pass.

    Args:
        distances: (N,) float64, held out.
    """
    count = len(distances)
    rank = min(count, math.ceil((1 - RATE) * (count + 1) - 1e-9))
    return Limit(float(np.sort(distances)[rank - 1]), (count + 1 - rank) / (count + 1))
