"""What a method is to the stages: a name, a head, and the options it was published with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wsikit.errors import ConfigError
from wsikit.heads.bag import Head
from wsikit.heads.registry import build_head
from wsikit.methods.patch_method import PatchMethod
from wsikit.registry import Registry


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
