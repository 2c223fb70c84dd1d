"""Which reference a store's slides are normalised to, and how one is made from a slide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from wsikit.config import TileConfig
from wsikit.errors import ConfigError
from wsikit.slides.open import open_slide
from wsikit.stages.tiling.slide import slide_grid
from wsikit.stages.tiling.stain_fit import sample_tissue
from wsikit.stages.tiling.survey import survey_slide
from wsikit.stain.reference import Reference, fit_reference, load_reference, save_reference
from wsikit.store.store import Store
from wsikit.types import Mpp

FILE = "stain_reference.json"
"""The reference's copy in the store: what normalised its slides can be seen and used again."""


def reference_from_slide(path: Path, mpp: Mpp | None, config: TileConfig) -> Reference:
    """Make a slide's tissue the reference.

    Args:
        path: the slide.
        mpp: what the user says of its resolution.
        config: at which resolution it is looked at, and what counts as tissue.

    Raises:
        SlideError: it cannot be read.
        ConfigError: it shows too little tissue.
    """
    with open_slide(path, mpp) as slide:
        grid = slide_grid(slide, config)
        survey = survey_slide(slide, grid, config)
        sample = sample_tissue(slide, survey, grid, config)
    try:
        return fit_reference(sample)
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from None


@contextmanager
def reference_file(path: Path | None, mpp: Mpp | None, config: TileConfig) -> Iterator[TileConfig]:
    """Give the configuration that normalises to a slide or a reference file, within this block.

    Args:
        path: a slide, a file that `save_reference` wrote, or None: as configured.
        mpp: what the user says of the slide's resolution.
        config: how to tile.

    Raises:
        SlideError: the slide cannot be read.
        ConfigError: the slide shows too little tissue, or the configuration normalises nothing.
    """
    if path is None:
        yield config
        return
    if config.stain.method == "none":
        raise ConfigError("--reference has no use with tile.stain.method none", "leave one out")
    with TemporaryDirectory() as folder:
        held = path
        if path.suffix != ".json":
            held = Path(folder) / FILE
            save_reference(reference_from_slide(path, mpp, config), held)
        stain = config.stain.model_copy(update={"reference": str(held)})
        yield config.model_copy(update={"stain": stain})


def keep_reference(store: Store, config: TileConfig) -> TileConfig:
    """Copy the reference into the store; return the configuration that takes it from there.

    Workers on other machines see the store, but not each file of the machine that started the run.
    """
    if config.stain.method == "none":
        return config
    path = store.path.resolve() / FILE
    save_reference(load_reference(config.stain.reference), path)
    stain = config.stain.model_copy(update={"reference": str(path)})
    return config.model_copy(update={"stain": stain})
