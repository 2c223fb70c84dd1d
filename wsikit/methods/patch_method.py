"""A method that trains on pixels: single patches in, each with its slide's label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsikit.heads.am_softmax_classifier import (
    PatchClassifier,
    build_patch_classifier,
    patch_classifier_options,
)
from wsikit.heads.instance_pool import InstancePool
from wsikit.training.fits.fit import FitResult
from wsikit.training.fits.module import BatchProgress
from wsikit.training.fits.record import Progress
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.fit import PatchFitOptions, fit_patches
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide, batches_of


@dataclass(frozen=True)
class PatchMethod:
    """Name a way to train an encoder and a last layer on it; here by the labels patches inherit.

    Attributes:
        classifier: name of the network's last layer in `wsikit.heads.am_softmax_classifier`.
        summary: one line for the user.
        encoder: name of the network to train, where the user does not say.
        epochs: at most so many, where the user does not say.
        patience: epochs without a better validation loss, where the user does not say.
        settings: keys of `train` and, below `patch`, of `train.patch`, with the values the method
            was published with; they hold where the user says nothing.
        note: for the report: what was trained, and how a slide's probability comes about.
    """

    classifier: str
    summary: str
    encoder: str = "vgg16"
    epochs: int = 100
    patience: int = 100
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = (
        "This run trained an encoder. A slide's probability is the mean over its patches, each of"
        " which was taught its slide's label."
    )

    def options(self) -> dict[str, Any]:
        """Return what `train.head` may hold, with its defaults."""
        return patch_classifier_options(self.classifier)

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse labels that the method cannot tell apart; the positive one is the last.

        Raises:
            CohortError: there are too many.
        """

    def build(self, in_features: int, classes: int, options: Mapping[str, Any]) -> PatchClassifier:
        """Return an untrained last layer.

        Args:
            in_features: width of the encoder's feature.
            classes: number of slide classes.
            options: the user's own.

        Raises:
            ConfigError: an option is unknown or out of range.
        """
        return build_patch_classifier(self.classifier, in_features, classes, **options)

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
        """Train; see `fit_patches`.

        Args:
            network: an encoder with what `build` made.
            train: slides to learn from.
            val: slides that choose the best epoch.
            settings: what decides any fit on patches.
            options: the user's own, as given to `build`.
            folder: where the fit is kept.
            encoder_file: receives the encoder.
            progress: told of each epoch.
            batch_progress: told of each batch.
            logs: receives the curves for TensorBoard; None for none.
        """
        return fit_patches(
            network, train, val, settings, folder, encoder_file, progress, batch_progress, logs
        )

    def epoch_batches(
        self,
        train: Sequence[PatchSlide],
        val: Sequence[PatchSlide],
        per_slide: int | None,
        batch_size: int,
    ) -> int:
        """Count the batches that an epoch learns from and is judged by."""
        return sum(
            batches_of([slide.patches for slide in side], per_slide, batch_size)
            for side in (train, val)
        )

    def pool(self, options: Mapping[str, Any]) -> InstancePool:
        """Return how a slide's probability follows from those of its patches."""
        return InstancePool("mean")
