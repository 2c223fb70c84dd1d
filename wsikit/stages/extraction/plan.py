"""Decide what `extract` has to compute of each slide, without touching its pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wsikit.config import ExtractConfig
from wsikit.encoders.encoder import Encoder
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.patches.slide_queue import SlideReading

ALGORITHM = 1


@dataclass(eq=False)
class SlideWork(SlideReading):
    """One slide, and what it still lacks.

    Attributes:
        patches: how many it has; 0 also where nothing is to be computed.
        recipes: encoder id -> recipe id of the features to compute.
        refused: encoder id -> why its features are left as they are.
        present: encoder id -> recipe id of the features that are there already.
        is_empty: whether the slide has no patch at all.
    """

    patches: int = 0
    recipes: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    present: dict[str, str] = field(default_factory=dict)
    is_empty: bool = False


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
            present = None if self.overwrite else _present(stored, encoder_id)
            if present is None:
                work.recipes[encoder_id] = wanted
            elif present != wanted:
                work.refused[encoder_id] = (
                    f"has features by {encoder_id} of another recipe: use --overwrite to redo them"
                )
            else:
                work.present[encoder_id] = wanted
        count = stored.patch_count
        work.is_empty = count == 0
        if work.recipes:
            work.patches = count
        return work

    def _recipe(self, stored: StoredSlide, encoder_id: str) -> str:
        return features_recipe(
            stored.recipe_id, encoder_id, self.config.precision, self.config.dtype
        )


def features_recipe(patches: str, encoder_id: str, precision: str, dtype: str) -> str:
    """Return the recipe id of a slide's features.

    What changes no more than the rounding of sums is no part of it: the device, the batch size,
    compiling.

    Args:
        patches: recipe id of the slide's patches.
        encoder_id: what computed them.
        precision: the arithmetic, as in `extract.precision`.
        dtype: the stored type.
    """
    return recipe_id(
        {
            "algorithm": ALGORITHM,
            "patches": patches,
            "encoder": encoder_id,
            "precision": precision,
            "dtype": dtype,
        }
    )


def _present(stored: StoredSlide, encoder_id: str) -> str | None:
    """Return the recipe id of the features that are there; None where there are none."""
    recipe = stored.derived_attributes(f"features/{encoder_id}").get("recipe_id")
    return None if recipe is None else str(recipe)
