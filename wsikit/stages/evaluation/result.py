"""What an evaluation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wsikit.reports.calibration import CalibrationBin
from wsikit.stages.evaluation.pair import Comparison
from wsikit.stages.evaluation.patch_truth import TruthEvaluation
from wsikit.stages.evaluation.slides import Metrics, metrics_json


@dataclass(frozen=True)
class Evaluation:
    """The numbers of a run, from slides that chose nothing.

    Attributes:
        about: what was measured: slides, patients and slides a class, resamples, seed.
        pooled: over all held-out slides.
        folds: fold -> over the slides it held out.
        calibration: groups of held-out slides of similar probability.
        patches: of a run that trained an encoder, the same over single patches, each taken to be
            of its slide's class.
        truth: patch scores against known regions, where some were given.
        comparison: the other run beside this one, where one was given.
    """

    about: dict[str, Any]
    pooled: Metrics
    folds: dict[str, Metrics]
    calibration: tuple[CalibrationBin, ...] = ()
    patches: dict[str, Any] | None = None
    truth: TruthEvaluation | None = None
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        return {
            **self.about,
            "pooled": metrics_json(self.pooled),
            "folds": {fold: metrics_json(metrics) for fold, metrics in self.folds.items()},
            "calibration": [group._asdict() for group in self.calibration],
            **({"patches": self.patches} if self.patches else {}),
            **({"truth": self.truth.to_json()} if self.truth else {}),
            **({"comparison": self.comparison.to_json()} if self.comparison else {}),
        }
