"""Which heatmaps are there already, so that a second run draws only what is new.

Files appear whole or not at all, and are noted only once they are there: what is noted is finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsikit import __version__
from wsikit.atomic import write_json
from wsikit.config import HeatmapConfig
from wsikit.store.recipe import recipe_id

ALGORITHM = 3
"""Raise when the same scores would be drawn otherwise."""

FOLDER = ".made"

DRAWN_BY = ("formats", "cohort")
"""Keys of the configuration that change no single file."""


class Made:
    """The record of one slide's files.

    Args:
        folder: where heatmaps are written.
        slide_id: the slide.
    """

    def __init__(self, folder: Path, slide_id: str) -> None:
        self._folder = folder
        self._path = folder / FOLDER / f"{slide_id}.json"
        self._recipes = _read(self._path)

    def holds(self, name: str, recipe: str, files: Sequence[str]) -> bool:
        """Tell whether a format was written by this recipe and is still there.

        Args:
            name: the format.
            recipe: identity of all that decides its content.
            files: what it writes; none where that is not known, and it is then written again.
        """
        if not files or self._recipes.get(name) != recipe:
            return False
        return all((self._folder / file).exists() for file in files)

    def has(self, name: str) -> bool:
        """Tell whether a format was written at all."""
        return name in self._recipes

    def note(self, name: str, recipe: str) -> None:
        """Record that a format is written."""
        self._recipes[name] = recipe
        write_json(self._path, dict(sorted(self._recipes.items())))


def drawing_recipe(config: HeatmapConfig, inputs: Mapping[str, Any]) -> str:
    """Return the identity of all that decides a slide's files.

    Args:
        config: how they are drawn.
        inputs: digests of scores, pixels and regions, as plain values.
    """
    drawn = config.model_dump(mode="json", exclude=set(DRAWN_BY))
    versions = {"algorithm": ALGORITHM, "version": __version__}
    return recipe_id({**versions, "config": drawn, **inputs})


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; empty where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _read(path: Path) -> dict[str, str]:
    """Read the record; one that is damaged is begun anew."""
    try:
        content = json.loads(path.read_bytes())
        return {str(name): str(recipe) for name, recipe in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}
