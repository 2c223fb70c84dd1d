"""The last layer of a network that is trained on single patches, with the loss that goes with it.

Without it, the network is an encoder.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from wsikit.errors import ConfigError
from wsikit.heads.am_softmax import NormalisedLinear, am_softmax_loss
from wsikit.heads.options import options_of, refuse_unknown
from wsikit.registry import Registry


class PatchClassifier(nn.Module, ABC):
    """Turn features of patches into class scores. Knows nothing of files or slides."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Score patches.

        Args:
            features: (B, D) float32.

        Returns:
            (B, C) logits, whose softmax are probabilities.
        """

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each patch.

        Args:
            features: (B, D) float32.
            labels: (B,) int64 in 0..C-1.

        Returns:
            (B,) float32, 0 or more.
        """


PATCH_CLASSIFIERS: Registry[type[PatchClassifier]] = Registry("patch classifier")


@PATCH_CLASSIFIERS.register("am-softmax")
class AmSoftmaxClassifier(PatchClassifier):
    """Train with AM-softmax (Wang et al. 2018). Probabilities are those without the margin.

    Args:
        in_features: width D of a feature.
        classes: number C of classes.
        s: scale of the cosines, above 0.
        m: margin, from 0 to 2: no two cosines are further apart.

    Raises:
        ConfigError: `s` or `m` is out of range.
    """

    def __init__(self, in_features: int, classes: int, *, s: float = 30.0, m: float = 0.35) -> None:
        super().__init__()
        if not _is_number(s) or not 0 < s <= 1000:
            raise ConfigError(f"s is {s!r}", "give a number above 0, up to 1000; 30 is usual")
        if not _is_number(m) or not 0 <= m <= 2:
            raise ConfigError(f"m is {m!r}", "give a number from 0 to 2; 0.35 is usual")
        self.s = float(s)
        self.m = float(m)
        self.cosines = NormalisedLinear(in_features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return s times the cosines; see the base class."""
        scores: Tensor = self.s * self.cosines(features)
        return scores

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss with the margin; see the base class."""
        return am_softmax_loss(self.cosines(features), labels, self.s, self.m)


@PATCH_CLASSIFIERS.register("softmax")
class SoftmaxClassifier(PatchClassifier):
    """Train with a linear layer and cross-entropy: what AM-softmax is held against.

    Args:
        in_features: width D of a feature.
        classes: number C of classes.
    """

    def __init__(self, in_features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return the linear layer's logits; see the base class."""
        logits: Tensor = self.linear(features)
        return logits

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy; see the base class."""
        return functional.cross_entropy(self.linear(features), labels, reduction="none")


def patch_classifier_options(name: str) -> dict[str, Any]:
    """Return a classifier's options and their defaults.

    Raises:
        ConfigError: there is no such classifier.
    """
    return options_of(PATCH_CLASSIFIERS[name])


def build_patch_classifier(
    name: str, in_features: int, classes: int, **options: Any
) -> PatchClassifier:
    """Build a classifier by name; what it draws comes from torch's global generator.

    Args:
        name: a name in `PATCH_CLASSIFIERS`.
        in_features: width D of a feature.
        classes: number of classes.
        **options: what to set otherwise than the default; see `patch_classifier_options`.

    Raises:
        ConfigError: there is no such classifier or option, or a value is out of range.
    """
    refuse_unknown(f"method '{name}'", options, patch_classifier_options(name))
    build: Any = PATCH_CLASSIFIERS[name]  # each has options of its own
    classifier: PatchClassifier = build(in_features, classes, **options)
    return classifier


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
