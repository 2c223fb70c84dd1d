"""Decide what `extract` has to compute of each slide, without touching its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wsikit.config import ExtractConfig
from wsikit.encoders.encoder import Encoder
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.slide_queue import SlideReading

ALGORITHM = 1


@dataclass(eq=False)
class SlideWork(SlideReading):
    """One slide, and what it still lacks.

    Attributes:
        patches: how many it has; 0 also where nothing is to be computed.
        recipes: encoder id -> recipe id of the features to compute.
        refused: encoder id -> why its features are left as they are.
    """

    patches: int = 0
    recipes: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Compare a store with what is asked for.

    Attributes:
        store: an open store.
        encoders: encoder id -> encoder.
        config: how to compute.
        overwrite: compute again whatever is there.
    """

    store: Store
    encoders: Mapping[str, Encoder]
    config: ExtractConfig
    overwrite: bool

    def work_of(self, slide_id: str) -> SlideWork:
        """Say what is to be done for a slide.

        Raises:
            StoreError: the stored slide is damaged.
        """
        stored = self.store.slide(slide_id)
        work = SlideWork(slide_id)
        for encoder_id in self.encoders:
            wanted = self._recipe(stored, encoder_id)
            present = stored.derived_attributes(f"features/{encoder_id}").get("recipe_id")
            if self.overwrite or present is None:
                work.recipes[encoder_id] = wanted
            elif present != wanted:
                work.refused[encoder_id] = (
                    f"has features by {encoder_id} of another recipe: use --overwrite to redo them"
                )
        if work.recipes:
            work.patches = stored.patch_count
        return work

    def _recipe(self, stored: StoredSlide, encoder_id: str) -> str:
        """Return the recipe id of a slide's features.

        What changes no more than the rounding of sums is no part of it: the device, the batch
        size, compiling.
        """
        return recipe_id(
            {
                "algorithm": ALGORITHM,
                "patches": stored.recipe_id,
                "encoder": encoder_id,
                "precision": self.config.precision,
                "dtype": self.config.dtype,
            }
        )
