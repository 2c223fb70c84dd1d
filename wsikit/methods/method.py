"""What a method is to the stages: a name, a head, and the options it was published with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsikit.errors import ConfigError
from wsikit.heads.bag import Head
from wsikit.heads.registry import build_head, head_options
from wsikit.methods.patch_method import PatchMethod
from wsikit.registry import Registry
from wsikit.training.bags.bags import BagDataset
from wsikit.training.fits.fit import FitOptions, FitResult, fit_head
from wsikit.training.fits.record import Progress


@dataclass(frozen=True)
class Method:
    """Name a way to train a slide classifier.

    Attributes:
        head: name of the head in `wsikit.heads`.
        summary: one line for the user.
        defaults: head options that differ from the head's own defaults.
        epochs: at most so many, where the user does not say.
        patience: epochs without a better validation loss, where the user does not say.
    """

    head: str
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 30
    patience: int = 10

    def options(self) -> dict[str, Any]:
        """Return what `train.head` may hold, with its defaults."""
        return {**head_options(self.head), **self.defaults}

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse labels that the method cannot tell apart; the positive one is the last.

        Raises:
            CohortError: there are too many.
        """

    def build(self, in_features: int, classes: int, options: Mapping[str, Any]) -> Head:
        """Return an untrained head.

        Args:
            in_features: width of a patch's feature.
            classes: number of slide classes.
            options: the user's own, over the method's defaults.

        Raises:
            ConfigError: an option is unknown to the head.
        """
        return build_head(self.head, in_features, classes, **{**self.defaults, **options})

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
        """Train; see `fit_head`.

        Args:
            head: what `build` made.
            train: bags to learn from.
            val: bags that choose the best epoch.
            settings: what decides any fit.
            options: the user's own, as given to `build`.
            folder: where the fit is kept.
            progress: told of each epoch.
            logs: receives the curves for TensorBoard; None for none.
        """
        return fit_head(head, train, val, settings, folder, progress, logs)


METHODS: Registry[Method | PatchMethod] = Registry("method")


def slide_method(name: str) -> Method:
    """Return a method that classifies slides by their features.

    Raises:
        ConfigError: there is none of that name, or it trains an encoder.
    """
    method = METHODS[name]
    if isinstance(method, PatchMethod):
        raise ConfigError(f"method '{name}' trains an encoder", "use it with wsikit train")
    return method
