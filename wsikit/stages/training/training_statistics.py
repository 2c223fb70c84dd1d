"""What a run remembers of the slides it was trained on, so that unlike ones can be told.

No slide's own numbers are kept: means, main directions and limits of all of them together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from wsikit.atomic import whole_file
from wsikit.encoders.safetensors_file import read_metadata
from wsikit.errors import SlideError, StoreError, WsikitError
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.training.slide_statistics import SlideStatistics, slide_statistics
from wsikit.store.store import Store
from wsikit.training.metrics.shift import Cloud, Limit, Vector, enough, held_out_distances, limit_of
from wsikit.types import Mpp

STAGE = "statistics"

MARKER = "wsikit_statistics"
"""The header's one key. With several their order in the file would be drawn anew each time."""

VERSION = 1

ALL = "all"
"""The training slides of all folds, by whose models a new slide is scored."""

KINDS = ("stain", "features")

FEW = 0.5
"""A slide with less than this share of the patches of any training slide has few."""

MPP_LEEWAY = 0.1
"""Share by which patches may be finer or coarser than those of any training slide."""

FEW_PATCHES = "few patches"
UNJUDGED = "stain not known"


class Judgement(NamedTuple):
    """How like the training slides a slide is.

    Attributes:
        flags: in what it is unlike them.
        stain: its stain's distance over the limit, more than 1 being far; None where not known.
        features: the same of its features.
    """

    flags: tuple[str, ...] = ()
    stain: float | None = None
    features: float | None = None


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The training slides of one fold, or of all.

    Attributes:
        slides: how many.
        patients: of how many patients.
        fewest_patches: of any of them.
        mpp: the least and the largest of their patches.
        clouds: `stain` and `features`, as far as there were slides enough, with their limits.
    """

    slides: int
    patients: int
    fewest_patches: int
    mpp: tuple[Mpp, Mpp]
    clouds: Mapping[str, tuple[Cloud, Limit]] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The share of like slides that is flagged for stain or features, at most."""
        return sum(limit.rate for _, limit in self.clouds.values())

    def check_mpp(self, mpp: Mpp) -> None:
        """Raise SlideError where a slide's patches are much finer or coarser than in training.

        Who tells of it names the slide.
        """
        least, largest = self.mpp
        for own, low, high in zip(mpp, least, largest, strict=True):
            if not low / (1 + MPP_LEEWAY) <= own <= high * (1 + MPP_LEEWAY):
                raise SlideError(
                    f"its patches have {mpp.x:.3g} x {mpp.y:.3g} um/px, and the model "
                    f"was trained at {least.x:.3g} x {least.y:.3g} to "
                    f"{largest.x:.3g} x {largest.y:.3g}",
                    "give it a scan of that resolution",
                )

    def judge(self, slide: SlideStatistics) -> Judgement:
        """Compare a slide with these; nothing is said where they are too few."""
        if not self.clouds:
            return Judgement()
        flags = [FEW_PATCHES] if slide.patches < FEW * self.fewest_patches else []
        shifts: dict[str, float | None] = dict.fromkeys(KINDS)
        for kind in (kind for kind in KINDS if kind in self.clouds):
            cloud, limit = self.clouds[kind]
            vector: Vector | None = getattr(slide, kind)
            if vector is None:
                flags.append(UNJUDGED)
                continue
            shift = _ratio(cloud.distance(vector), limit.distance)
            if shift > 1:
                flags.append(f"{kind} far from training")
            shifts[kind] = shift
        return Judgement(tuple(flags), shifts["stain"], shifts["features"])


def _ratio(distance: float, limit: float) -> float:
    if limit > 0:
        return distance / limit
    return math.inf if distance > 0 else 0.0


class TrainingStatistics:
    """The training sets of a run.

    Args:
        sets: by fold, and of all folds where there are several.
    """

    def __init__(self, sets: Mapping[str, TrainingSet]) -> None:
        self._sets = sets

    def of(self, folds: Sequence[int]) -> TrainingSet:
        """Return what the models of some folds were trained on: of one, or of all."""
        return self._sets[str(folds[0])] if len(folds) == 1 else self._sets[ALL]


def make_statistics(
    store: Store,
    run: RunFolder,
    facts: RunFacts,
    splits: pd.DataFrame,
    encoder_id: str | None,
    progress: Progress,
) -> None:
    """Write what the training slides of each fold are like, unless it is there.

    Args:
        store: the training's store.
        run: receives `statistics.safetensors`.
        facts: the run's.
        splits: which slide is trained on in which fold, and whose it is.
        encoder_id: which features; None where the method looks at pixels.
        progress: told of each slide.
    """
    if run.statistics.exists():
        return
    training = splits[splits["split"] == "train"]
    slide_ids = sorted(set(training["slide_id"]))
    progress.start(STAGE, len(slide_ids))
    described = {}
    for slide_id in slide_ids:
        described[slide_id] = slide_statistics(store.slide(slide_id), encoder_id)
        progress.tick(slide_id)
    progress.finish()
    rows = {str(fold): training[training["fold"] == fold] for fold in range(facts.folds)}
    if facts.folds > 1:
        rows[ALL] = training.drop_duplicates("slide_id")
    _write(run.statistics, {name: _fitted(table, described) for name, table in rows.items()})


def _fitted(table: pd.DataFrame, described: Mapping[str, SlideStatistics]) -> TrainingSet:
    slides = [described[slide_id] for slide_id in table["slide_id"]]
    patients = [str(patient) for patient in table["patient_id"]]
    clouds = {}
    for kind in KINDS:
        vectors = [getattr(slide, kind) for slide in slides]
        known = [vector is not None for vector in vectors]
        groups = [p for p, there in zip(patients, known, strict=True) if there]
        if enough(groups):
            stacked = np.stack([vector for vector in vectors if vector is not None])
            clouds[kind] = (Cloud.of(stacked), limit_of(held_out_distances(stacked, groups)))
    mpps = np.array([slide.mpp for slide in slides])
    return TrainingSet(
        slides=len(slides),
        patients=len(set(patients)),
        fewest_patches=min(slide.patches for slide in slides),
        mpp=(Mpp(*mpps.min(axis=0).tolist()), Mpp(*mpps.max(axis=0).tolist())),
        clouds=clouds,
    )


def _write(path: Path, sets: Mapping[str, TrainingSet]) -> None:
    tensors = {}
    about: dict[str, Any] = {"version": VERSION, "sets": {}}
    for name, one in sets.items():
        about["sets"][name] = {
            "slides": one.slides,
            "patients": one.patients,
            "fewest_patches": one.fewest_patches,
            "mpp": [list(mpp) for mpp in one.mpp],
            "clouds": {
                kind: {"rest": cloud.rest, "limit": limit.distance, "rate": limit.rate}
                for kind, (cloud, limit) in one.clouds.items()
            },
        }
        for kind, (cloud, _) in one.clouds.items():
            for part in ("mean", "axes", "variances"):
                tensors[f"{name}.{kind}.{part}"] = np.ascontiguousarray(getattr(cloud, part))
    with whole_file(path) as temporary:
        save_file(tensors, temporary, {MARKER: json.dumps(about, sort_keys=True)})


def read_statistics(run: RunFolder, facts: RunFacts) -> TrainingStatistics | None:
    """Read what a run remembers of its training slides; None where it was made without.

    Raises:
        StoreError: the file is damaged.
    """
    path = run.statistics
    if not path.exists():
        return None
    try:
        about = json.loads(read_metadata(path)[MARKER])
        if about["version"] != VERSION:
            raise ValueError(f"form {about['version']!r}")
        tensors = load_file(path)
        sets = {name: _taken(name, one, tensors, facts) for name, one in about["sets"].items()}
        wanted = {str(fold) for fold in range(facts.folds)} | ({ALL} if facts.folds > 1 else set())
        if wanted - set(sets):
            raise ValueError("a fold is missing")
    except (SafetensorError, WsikitError, OSError, ValueError, KeyError, TypeError, AttributeError,
            RecursionError) as error:  # fmt: skip
        raise StoreError(
            f"{path}: not the statistics of this run's training ({error})",
            "delete it to go without flags, or train again",
        ) from error
    return TrainingStatistics(sets)


def _taken(
    name: str, one: Mapping[str, Any], tensors: Mapping[str, Any], facts: RunFacts
) -> TrainingSet:
    clouds = {}
    for kind, numbers in one["clouds"].items():
        if kind not in KINDS:
            raise ValueError(f"statistics of {kind!r:.20}")
        mean, axes, variances = (
            tensors[f"{name}.{kind}.{part}"] for part in ("mean", "axes", "variances")
        )
        width = facts.in_features if kind == "features" else len(mean)
        if mean.shape != (width,) or axes.shape != (len(variances), width) or variances.ndim != 1:
            raise ValueError(f"{kind} of another width")
        cloud = Cloud(mean, axes, variances, float(numbers["rest"]))
        clouds[kind] = (cloud, Limit(float(numbers["limit"]), float(numbers["rate"])))
    least, largest = (Mpp(*map(float, mpp)) for mpp in one["mpp"])
    return TrainingSet(
        int(one["slides"]), int(one["patients"]), int(one["fewest_patches"]), (least, largest),
        clouds,
    )  # fmt: skip
