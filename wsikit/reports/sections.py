"""Parts of the page that not every run has: curves, another run beside it, known regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wsikit.reports.text import Estimate
from wsikit.types import FloatArray


@dataclass(frozen=True)
class RocCurve:
    """One ROC curve.

    Attributes:
        name: "fold 1".
        fpr: (K,) false positive rates, rising from 0 to 1.
        tpr: (K,) true positive rates, rising from 0 to 1.
        auc: the area under it.
    """

    name: str
    fpr: FloatArray | NDArray[np.float64]
    tpr: FloatArray | NDArray[np.float64]
    auc: Estimate


@dataclass(frozen=True)
class ComparisonRow:
    """One metric of two runs; the difference is second minus first."""

    name: str
    first: Estimate
    second: Estimate
    difference: Estimate


@dataclass(frozen=True)
class ComparisonSection:
    """Another run beside this one, on the slides that both held out.

    Attributes:
        names: this run, the other.
        slides: how many are compared.
        patients: of how many patients.
        rows: a metric each.
        verdict: what the test of the areas says, in a sentence.
        roc: a curve each; none where there are more than two classes.
        unmatched: why slides are not compared -> their names.
        notes: what the reader must know.
    """

    names: tuple[str, str]
    slides: int
    patients: int
    rows: Sequence[ComparisonRow]
    verdict: str
    roc: Sequence[RocCurve] = ()
    unmatched: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class TruthRow:
    """One number on patches, and what it says."""

    name: str
    estimate: Estimate
    words: str


@dataclass(frozen=True)
class FrocCurve:
    """Lesions found against false alarms.

    Attributes:
        rates: (K,) mean false alarms a slide, rising from 0.
        sensitivity: (K,) share of the lesions hit by then.
        at_rates: false alarms a slide -> sensitivity read off there.
        lesions: how many there are.
    """

    rates: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    at_rates: Mapping[float, Estimate]
    lesions: int


@dataclass(frozen=True)
class TruthSection:
    """Patch scores beside known regions.

    Attributes:
        summary: what was held against what, in a sentence.
        rows: a number each.
        froc: the curve; None without a lesion.
        left_out: slide id -> why it takes no part.
        notes: what the reader must know.
    """

    summary: str
    rows: Sequence[TruthRow]
    froc: FrocCurve | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
