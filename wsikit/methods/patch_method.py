"""A method that trains an encoder: single patches in, each with its slide's label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wsikit.heads.am_softmax_classifier import PatchClassifier, build_patch_classifier


@dataclass(frozen=True)
class PatchMethod:
    """Name a way to train an encoder.

    Attributes:
        classifier: name of the network's last layer in `wsikit.heads.am_softmax_classifier`.
        summary: one line for the user.
        epochs: at most so many, where the user does not say.
        patience: epochs without a better validation loss, where the user does not say.
    """

    classifier: str
    summary: str
    epochs: int = 100
    patience: int = 100

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
