"""Measure patch scores of held-out slides against known regions: area, Dice and FROC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wsikit.errors import StoreError
from wsikit.stages.evaluation.slides import HeldOut, interval_json
from wsikit.stages.evaluation.truth import (
    KnownSlide,
    KnownSlides,
    TruthRule,
    known_slides,
    shown_class,
)
from wsikit.store.store import Store
from wsikit.training.metrics.froc import NO_LESION, RATES, Froc, detections, froc
from wsikit.training.metrics.metrics import Interval
from wsikit.training.metrics.patch_truth import (
    BOTH_KINDS,
    ScoredPatches,
    best_threshold,
    dice,
    mean_over_slides,
    pooled_auc,
    pooled_dice,
    slide_auc,
)

NO_REGION = "no slide has a positive patch"


@dataclass(frozen=True)
class TruthEvaluation:
    """Patch scores beside the truth, on held-out slides.

    Attributes:
        shows: the class that the known regions show.
        meaning: what a patch score says.
        least: the share of a patch inside from which on it is positive.
        threshold: the score from which on a patch is called positive, for Dice.
        threshold_from: how it was chosen.
        numbers: `auc` over all patches; `auc_without_border` with those left out that are inside by
            less than `least`; `auc_mean_over_slides`; `dice`; `dice_mean_over_slides`.
        froc: the FROC curve; None without a lesion.
        slides: slide id -> auc, dice, patches, positive, lesions, lesions_hit (at any threshold).
        known: which slides took part, and which not.
    """

    shows: str
    meaning: str
    least: float
    threshold: float
    threshold_from: str
    numbers: dict[str, Interval]
    froc: Froc | None
    slides: dict[str, dict[str, Any]]
    known: KnownSlides

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        return {
            "class": self.shows,
            "score": self.meaning,
            "positive_share": self.least,
            "threshold": self.threshold,
            "threshold_from": self.threshold_from,
            **{name: interval_json(interval) for name, interval in self.numbers.items()},
            "froc": self._froc_json(),
            "slides": self.slides,
            "without_file": self.known.without_file,
            "left_out": self.known.left_out,
        }

    def _froc_json(self) -> dict[str, Any]:
        if self.froc is None:
            nothing = interval_json(Interval(None, None, None, NO_LESION))
            return {"score": nothing, "sensitivity": {}, "lesions": 0}
        rates = {f"{rate:g}": interval_json(self.froc.at_rates[rate]) for rate in RATES}
        return {
            "score": interval_json(self.froc.score),
            "sensitivity": rates,
            "lesions": self.froc.lesions,
        }


def evaluate_truth(held_out: HeldOut, store: Store, rule: TruthRule) -> TruthEvaluation:
    """Measure a run's patch scores against known regions.

    The threshold of Dice is the best one on the run's validation slides, if those have scores and
    regions. In a cross-validated run every slide is scored as a held-out one, so there are none,
    and the threshold is one that needs no choice: 0.5 for a probability, the slide's average for
    attention.

    Args:
        held_out: the run.
        store: its slides' store.
        rule: what is held against what.

    Raises:
        StoreError: no held-out slide has both patch scores and known regions.
        SlideError: a GeoJSON file is not usable.
        UsageError: the folder is not there, or the shown class is not clear.
    """
    run, facts = held_out.run, held_out.facts
    known = known_slides(held_out.table, store, run, facts, rule)
    if not known.slides:
        slide_id, reason = next(iter(known.left_out.items()))
        raise StoreError(
            f"{run.path}: no held-out slide can be held against {rule.folder} "
            f"({slide_id}: {reason})",
            "run wsikit predict first, with a method that scores patches, and check the file names",
        )
    threshold, chosen = _threshold(held_out, store, rule, known.slides[0].kind)
    slides = [slide.patches for slide in known.slides]
    options = {"bootstrap": held_out.config.train.bootstrap, "seed": held_out.config.seed}
    areas = [slide_auc(slide, rule.least, borders=True) for slide in slides]
    overlaps = [dice(s, rule.least, threshold) if _any_positive(s, rule) else None for s in slides]
    judged = [
        detections(s.patches.patient, s.rowcol, s.patches.scores, s.lesions) for s in known.slides
    ]
    return TruthEvaluation(
        shows=shown_class(rule, facts),
        meaning=known.slides[0].meaning,
        least=rule.least,
        threshold=threshold,
        threshold_from=chosen,
        numbers={
            "auc": pooled_auc(slides, rule.least, borders=True, **options),
            "auc_without_border": pooled_auc(slides, rule.least, borders=False, **options),
            "auc_mean_over_slides": mean_over_slides(slides, areas, BOTH_KINDS, **options),
            "dice": pooled_dice(slides, rule.least, threshold, **options),
            "dice_mean_over_slides": mean_over_slides(slides, overlaps, NO_REGION, **options),
        },
        froc=froc(judged, **options),
        slides={
            slide.slide_id: {
                "auc": area,
                "dice": overlap,
                "patches": len(slide.scores),
                "positive": int(slide.positive(rule.least).sum()),
                "lesions": len(found.lesions),
                "lesions_hit": int((found.lesions > float("-inf")).sum()),
            }
            for slide, area, overlap, found in zip(slides, areas, overlaps, judged, strict=True)
        },
        known=known,
    )


def _any_positive(slide: ScoredPatches, rule: TruthRule) -> bool:
    return bool(slide.positive(rule.least).any())


def _threshold(held_out: HeldOut, store: Store, rule: TruthRule, kind: str) -> tuple[float, str]:
    """Choose the threshold of Dice without a look at the slides that it is measured on."""
    chosen = best_threshold([s.patches for s in _validation(held_out, store, rule)], rule.least)
    if chosen is not None:
        return chosen, "the best one on the run's validation slides"
    threshold = 1.0 if kind == "attention" else 0.5
    return threshold, "not chosen: no validation slide has scores and known regions"


def _validation(held_out: HeldOut, store: Store, rule: TruthRule) -> list[KnownSlide]:
    """Return the validation slides that were scored by the model they belong to."""
    splits = held_out.run.splits()
    val = splits.loc[splits["split"] == "val", ["slide_id", "fingerprint"]]
    predictions = held_out.predictions
    rows = predictions[predictions["split"] == "val"].merge(
        val.drop_duplicates("slide_id").astype(str), on="slide_id"
    )
    return known_slides(rows, store, held_out.run, held_out.facts, rule).slides
