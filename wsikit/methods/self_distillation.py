"""Method B (CN115482232A): negative-guided self-distillation with a Prediction Bank.

An instance classifier, ResNet18 and one linear layer, is learnt from slide labels alone. Patches
of negative slides are negative. Patches of positive slides get their labels from a teacher, a slow
copy of the student, through a bank that holds its latest score of every one of them: by optimal
transport (Sinkhorn-Knopp) a set share K of the labels is positive, so that they cannot all turn
negative.

    S1  two views of each patch: flips, colour jitter, grey, crop  training/distillation/views.py
    S2  teacher -> Prediction Bank -> Sinkhorn-Knopp -> labels     heads/prediction_bank.py
    S3  L = CE(student(view 2), label) + CE(student(negative), 0)  training/distillation/module.py
    S4  Adam; teacher <- lambda teacher + (1 - lambda) student     training/distillation/teacher.py
    S5  the student scores every patch; a slide's score is pooled  heads/instance_pool.py

`self_distillation` is this, from pixels, with any encoder. `self_distillation_features` takes
features that are there already and trains the last layer alone, for large cohorts: bank, transport
and teacher are the same, the views are noise on the features. What the source leaves open, and
where this departs from it, stands in docs/self-distillation.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wsikit.errors import CohortError
from wsikit.heads.am_softmax_classifier import PatchClassifier, build_patch_classifier
from wsikit.heads.bag import Head
from wsikit.heads.instance import InstanceHead
from wsikit.heads.instance_pool import InstancePool
from wsikit.heads.options import refuse_unknown
from wsikit.heads.registry import head_options
from wsikit.methods.method import METHODS, Method
from wsikit.methods.patch_method import PatchMethod
from wsikit.training.bags.bags import BagDataset
from wsikit.training.distillation.fit import Distillation, distil_features, distil_patches
from wsikit.training.distillation.options import DistilOptions, FeatureSampling
from wsikit.training.distillation.views import FeatureViews, PixelViews
from wsikit.training.fits.fit import FitOptions, FitResult
from wsikit.training.fits.module import BatchProgress
from wsikit.training.fits.record import Progress
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.fit import PatchFitOptions
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide, batches_of

_FROM_PIXELS = (DistilOptions, PixelViews, InstancePool)
_ON_FEATURES = (DistilOptions, FeatureViews, FeatureSampling)


@dataclass(frozen=True)
class SelfDistillation(PatchMethod):
    """Train encoder and last layer from pixels."""

    def options(self) -> dict[str, Any]:
        """Return what `train.head` may hold; see the base class."""
        return _defaults(_FROM_PIXELS)

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse more than two; see the base class."""
        _check_two(classes)

    def build(self, in_features: int, classes: int, options: Mapping[str, Any]) -> PatchClassifier:
        """Return one linear layer, having checked the options; see the base class."""
        refuse_unknown("method 'self_distillation'", options, self.options())
        for part in _FROM_PIXELS:
            _taken(part, options)
        return build_patch_classifier(self.classifier, in_features, classes)

    def fit(
        self,
        network: PatchNetwork,
        train: PatchSide,
        val: PatchSide,
        settings: PatchFitOptions,
        options: Mapping[str, Any],
        folder: Path,
        encoder_file: Path,
        progress: Progress | None = None,
        batch_progress: BatchProgress | None = None,
        logs: Path | None = None,
    ) -> FitResult:
        """Train; see the base class and `distil_patches`."""
        distillation = Distillation(settings, _taken(DistilOptions, options), self.pool(options))
        return distil_patches(
            network, train, val, distillation, _taken(PixelViews, options),
            folder, encoder_file, progress, batch_progress, logs,
        )  # fmt: skip

    def epoch_batches(
        self,
        train: Sequence[PatchSlide],
        val: Sequence[PatchSlide],
        per_slide: int | None,
        batch_size: int,
    ) -> int:
        """Count batches: of both kinds of patch together, as often as there are positive ones."""
        positive = batches_of([s.patches for s in train if s.label], per_slide, batch_size)
        return positive + batches_of([s.patches for s in val], per_slide, 2 * batch_size)

    def pool(self, options: Mapping[str, Any]) -> InstancePool:
        """Return how patches make a slide; see the base class."""
        pool: InstancePool = _taken(InstancePool, options)
        return pool


@dataclass(frozen=True)
class SelfDistillationFeatures(Method):
    """Train the last layer on features."""

    def options(self) -> dict[str, Any]:
        """Return what `train.head` may hold; see the base class."""
        return {**super().options(), **_defaults(_ON_FEATURES)}

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse more than two; see the base class."""
        _check_two(classes)

    def build(self, in_features: int, classes: int, options: Mapping[str, Any]) -> Head:
        """Return the head, having checked the options; see the base class."""
        refuse_unknown("method 'self_distillation_features'", options, self.options())
        for part in _ON_FEATURES:
            _taken(part, options)
        own = {name: options[name] for name in head_options(self.head) if name in options}
        return super().build(in_features, classes, own)

    def fit(
        self,
        head: Head,
        train: BagDataset,
        val: BagDataset,
        settings: FitOptions,
        options: Mapping[str, Any],
        folder: Path,
        progress: Progress | None = None,
        logs: Path | None = None,
    ) -> FitResult:
        """Train; see the base class and `distil_features`."""
        if not isinstance(head, InstanceHead):
            raise TypeError(f"expected an InstanceHead, not {type(head).__name__}")
        sampling = _taken(FeatureSampling, options)
        on_patches = {**asdict(settings), **asdict(sampling), "accumulate": 1}
        distillation = Distillation(
            PatchFitOptions(**on_patches), _taken(DistilOptions, options), head.pool
        )
        return distil_features(
            head, train, val, distillation, _taken(FeatureViews, options), folder, progress, logs
        )


SELF_DISTILLATION = METHODS.register("self_distillation")(
    SelfDistillation(
        "softmax",
        "patches labelled by a teacher and a Prediction Bank (CN115482232A)",
        encoder="resnet18",
        epochs=50,
        patience=50,
        note=(
            "This run trained a classifier of patches, and its encoder, by self-distillation. A"
            " slide's probability is pooled from those of its patches as train.head.pool says."
        ),
    )
)

SELF_DISTILLATION_FEATURES = METHODS.register("self_distillation_features")(
    SelfDistillationFeatures(
        "instance",
        "the same on features that are there already",
        epochs=50,
        patience=50,
    )
)


def _defaults(parts: Sequence[type[Any]]) -> dict[str, Any]:
    """Return the fields of dataclasses and their defaults."""
    return {field.name: field.default for part in parts for field in fields(part)}


def _taken(part: type[Any], options: Mapping[str, Any]) -> Any:
    """Build a dataclass from those options that are its own."""
    return part(**{f.name: options[f.name] for f in fields(part) if f.name in options})


def _check_two(classes: Sequence[str]) -> None:
    if len(classes) > 2:
        raise CohortError(
            f"self-distillation tells positive slides from the rest, and the labels are "
            f"{', '.join(classes)}",
            "give two labels, or another --method",
        )
