"""Flag slides that are unlike those a run was trained on, and say how often chance would do so."""

from __future__ import annotations

from collections.abc import Sequence

from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.training.model_folder import describes_features
from wsikit.stages.training.slide_statistics import slide_statistics
from wsikit.stages.training.training_statistics import Judgement, read_statistics
from wsikit.store.stored_slide import StoredSlide


class ShiftWatch:
    """Compare slides with the training slides of the models that score them.

    Where the run cannot tell, it is said once, and the columns are left out.

    Args:
        run: the run.
        facts: what it says of itself.
        progress: told what cannot be told, and the sum of what was found.

    Raises:
        StoreError: the run's statistics are damaged.
    """

    def __init__(self, run: RunFolder, facts: RunFacts, progress: Progress) -> None:
        self._statistics = read_statistics(run, facts)
        self._encoder_id = facts.encoder_id if describes_features(facts) else None
        self._progress = progress
        self._judged = self._flagged = 0
        self._rate = 0.0
        self._few: str | None = None
        if self._statistics is None:
            progress.say(
                f"{run.path}: keeps no statistics of its training slides (an earlier wsikit made "
                "it), so no slide is flagged"
            )

    def look(self, slide: StoredSlide, folds: Sequence[int], split: str) -> Judgement | None:
        """Judge a slide.

        Args:
            slide: a slide with patches, and features where the run scores these.
            folds: whose models score it: one, or all.
            split: where the slide stood in the first of them; one that was trained on is not
                judged.

        Returns:
            None where nothing can be said.

        Raises:
            SlideError: its patches are much finer or coarser than those of training, and no
                cuts that were brought to one size.
            StoreError: it cannot be read.
        """
        if self._statistics is None or not slide.patch_count:
            return None
        known = self._statistics.of(folds)
        if not slide.is_cut_to_size:
            known.check_mpp(slide.mpp)
        if not known.clouds:
            self._few = f"{known.slides} slides of {known.patients} patients"
            return None
        if split == "train":
            return Judgement()
        judgement = known.judge(slide_statistics(slide, self._encoder_id))
        self._judged += 1
        self._flagged += bool(judgement.flags)
        self._rate = max(self._rate, known.rate)
        return judgement

    def sum_up(self) -> None:
        """Say how many slides are flagged, and how many chance would flag."""
        if self._few is not None:
            self._progress.say(
                f"trained on {self._few}: too few to tell an unlike slide, so none is flagged"
            )
        if self._judged:
            self._progress.say(
                f"{self._flagged} of {self._judged} slides are flagged as unlike those of training;"
                f" of like ones at most about {self._rate:.1%} would be, for stain or features"
            )


def shift_columns(judgement: Judgement | None) -> dict[str, str]:
    """Return what predictions.csv says of a slide's likeness; nothing where nothing can be said."""
    if judgement is None:
        return {}
    return {
        "flags": ";".join(judgement.flags),
        "stain_shift": _number(judgement.stain),
        "feature_shift": _number(judgement.features),
    }


def _number(shift: float | None) -> str:
    return "" if shift is None else f"{shift:.3g}"
