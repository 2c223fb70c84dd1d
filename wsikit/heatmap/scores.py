"""The scores of one slide's patches: where each lies, what it is, and what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from wsikit.errors import WsikitError
from wsikit.types import FloatArray, ScoreKind, ScoreScale, Size


@dataclass(frozen=True)
class PatchScores:
    """Hold one score a patch.

    Attributes:
        xy_l0: (N, 2) int32, top left corners, x and y in level-0 px. N may be 0.
        side_l0: width and height of a patch in level-0 px.
        values: (N,) float32, finite; in 0..1 for a probability, at least 0 for attention.
        meaning: what the number says, as a reader should see it ("probability of tumour").
        kind: what it is; what `scale` does not decide follows from it.
        scale: how it is shown. `auto`: a probability as it is, attention as its percentile in the
            slide. `raw`: as it is, attention as a share of the slide's highest. `percentile`: as
            its percentile in the slide, whatever it is.
        detail: how the numbers came about, where they are not one a patch; empty otherwise.
        unit: what has one score each, in a word that takes a plural: a patch, or a square of the
            finer stride.

    Raises:
        ValueError: the arrays do not belong together.
        WsikitError: a score is not finite or out of range.
    """

    xy_l0: NDArray[np.int32]
    side_l0: Size
    values: FloatArray
    meaning: str
    kind: ScoreKind
    scale: ScoreScale = "auto"
    detail: str = ""
    unit: str = "patch"

    def __post_init__(self) -> None:
        count = len(self.values)
        if self.xy_l0.shape != (count, 2) or self.values.ndim != 1:
            raise ValueError(
                f"xy_l0 {self.xy_l0.shape} and values {self.values.shape} are not (N, 2) and (N,)"
            )
        if min(self.side_l0) < 1:
            raise ValueError(f"a patch must be at least one level-0 pixel: side_l0={self.side_l0}")
        top = 1.0 if self.kind == "probability" else np.inf
        # A float32 softmax may exceed 1 by a rounding error; that is not a fault.
        good = np.isfinite(self.values) & (self.values >= 0) & (self.values <= top + 1e-6)
        if not good.all():
            wanted = "between 0 and 1" if self.kind == "probability" else "finite and at least 0"
            raise WsikitError(
                f"{count - int(good.sum())} of {count} patch scores ('{self.meaning}') "
                f"are not {wanted}",
                "predict again, with weights from a training that did not diverge",
            )

    @property
    def units(self) -> str:
        """The plural of `unit`."""
        return f"{self.unit}es" if self.unit.endswith("ch") else f"{self.unit}s"

    @property
    def percentile(self) -> FloatArray:
        """Place each patch among the slide's patches: (N,) float32 in 0..100, ties alike.

        Mid-ranks, `100 (rank - 0.5) / N`: patches that all score the same are all at 50, and a
        slide of any size spreads symmetrically.
        """
        count = max(1, len(self.values))
        ranks = rankdata(self.values, method="average")
        return np.asarray(100 * (ranks - 0.5) / count, np.float32)

    @property
    def rank(self) -> NDArray[np.int64]:
        """Count from the top: (N,) int64, 1 is the highest score, equal scores share the better."""
        return np.asarray(rankdata(-self.values, method="min"), np.int64)

    @property
    def shown(self) -> FloatArray:
        """What a colour stands for: (N,) float32 in 0..1.

        Attention sums to one over the slide, so its size depends on how many patches there are;
        only its order can be compared by eye. Unless `scale` says otherwise it is shown as
        percentile / 100.
        """
        if self.by_percentile:
            return self.percentile / np.float32(100)
        if self.kind == "attention":
            top = self.values.max(initial=0)
            return np.asarray(self.values / (top or 1), np.float32)
        return np.clip(self.values, 0, 1).astype(np.float32)

    @property
    def by_percentile(self) -> bool:
        """Whether a colour stands for a percentile within the slide."""
        return self.scale == "percentile" or (self.scale == "auto" and self.kind == "attention")

    @property
    def shown_meaning(self) -> str:
        """Say what a colour stands for, in words."""
        detail = f" ({self.detail})" if self.detail else ""
        if self.by_percentile:
            return f"{self.meaning}: percentile within this slide{detail}"
        if self.kind == "attention":
            return f"{self.meaning}: share of the highest in this slide{detail}"
        return f"{self.meaning}{detail}"
