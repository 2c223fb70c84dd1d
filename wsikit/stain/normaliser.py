"""The interface of a slide's stain normalisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from wsikit.stain.lookup import Histogram, count_values
from wsikit.stain.reference import Reference, needed
from wsikit.stain.sample import StainSample
from wsikit.types import UInt8Image


class Normaliser(ABC):
    """Change the colours of a slide's patches towards those of a reference.

    It is fitted once a slide, knows nothing but numbers, travels to workers with each task, and can
    be written to JSON and read back to the same output, byte for byte.

    Attributes:
        method: the name that a user writes as `tile.stain.method`.
        needs: the part of a reference that it needs besides the histogram.
    """

    method: ClassVar[str]
    needs: ClassVar[Literal["lab", "stains"] | None] = None

    @classmethod
    def check(cls, reference: Reference) -> None:
        """See that a reference holds what this method needs.

        Raises:
            ConfigError: it does not.
        """
        if cls.needs is not None:
            needed(getattr(reference, cls.needs), cls.method)

    @classmethod
    @abstractmethod
    def fit(cls, sample: StainSample, reference: Reference) -> Normaliser:
        """Return the normaliser of one slide.

        Args:
            sample: the slide's, with `MIN_TISSUE_PX` tissue pixels or more.
            reference: what its colours are to become.

        Returns:
            One of this method, or `Identity` with a reason where the slide's stain is such that
            the method cannot work.

        Raises:
            ConfigError: see `check`.
        """

    @abstractmethod
    def apply(self, image: UInt8Image) -> UInt8Image:
        """Normalise a patch.

        Args:
            image: (H, W, 3) uint8; it is left as it was.

        Returns:
            (H, W, 3) uint8.
        """

    def apply_counting(self, image: UInt8Image) -> tuple[UInt8Image, Histogram]:
        """Normalise a patch, and count the values it had before.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            (H, W, 3) uint8; (3, 256) int64, counts of `image`.
        """
        return self.apply(image), count_values(image)

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return `method` and all that `from_json` needs, as plain lists and numbers."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Take back what `to_json` gave.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another kind.
            ValueError: something is out of range.
        """


@dataclass(frozen=True)
class Identity(Normaliser):
    """Leave a slide as it is.

    Args:
        reason: why, where another method was asked for.
    """

    method: ClassVar[str] = "none"
    reason: str = ""

    @classmethod
    def fit(cls, sample: StainSample, reference: Reference) -> Identity:
        """Return the one there is."""
        return cls()

    def apply(self, image: UInt8Image) -> UInt8Image:
        """Return the very array that was given."""
        return image

    def to_json(self) -> dict[str, Any]:
        """Return the name, and the reason where there is one."""
        return {"method": self.method} | ({"reason": self.reason} if self.reason else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Take the reason back."""
        return cls(str(data.get("reason", "")))
