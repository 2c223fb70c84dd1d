"""The HDF5 layout in which CLAM and TRIDENT keep a slide's features: its names and meanings.

One file a slide, `<slide_id>.h5`, with `features` (N, D) and `coords` (N, 2), x and y of each
patch's top left corner in level-0 px. Found by reading (public repositories on GitHub):

* mahmoodlab/CLAM, `extract_features_fp.py`: a feature file holds float32 `features` and int32
  `coords`, and no attribute at all. The patch file beside it (`wsi_core/WholeSlideImage.py`,
  `process_contour`; written by `save_hdf5`) holds `coords` with `patch_size` (px at `patch_level`),
  `patch_level`, `downsample` (x, y of that level), `level_dim` and `downsampled_level_dim` (of that
  level), `name`, `save_path`. Each contour has a raster of its own, begun at its bounding box, so
  CLAM's corners lie on no common grid. `dataset_modules/dataset_h5.py` reads `patch_size` and
  `patch_level`; `dataset_modules/dataset_generic.py` reads the two data sets alone.
* mahmoodlab/TRIDENT, `trident/IO.py` (`save_h5`, `coords_to_h5`, `read_coords`): int64 `coords`
  with `patch_size` (px at the target magnification), `patch_size_level0`, `level0_magnification`,
  `target_magnification`, `overlap`, `name`, `savetodir`, and lately `level0_width`,
  `level0_height`; absent values are the text 'None'. `trident/wsi_objects/WSI.py` gives `features`
  the attributes `name`, `savetodir` and `encoder`. `trident/wsi_objects/WSIPatcher.py` takes
  `10 / magnification` for um per px and `round(patch_size * level0 / target)` for a patch's side.
* mahmoodlab/PANTHER, `src/wsi_datasets/wsi_survival.py`, accepts `features` (1, N, D) too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wsikit.types import Mpp, Size

FEATURES = "features"
COORDS = "coords"

OWN = "wsikit"
"""Attribute of a file that wsikit wrote: JSON of what the two layouts have no place for."""

SUFFIXES = (".h5", ".hdf5")

Layout: TypeAlias = Literal["trident", "clam"]
"""Whose meaning `patch_size` has, where the two differ."""

UM_PER_PX_AT_1X = 10.0
"""TRIDENT's rule: magnification = 10 / (um per px)."""


@dataclass(frozen=True)
class H5Facts:
    """What a file says of its patches, unchecked; None where it says nothing.

    Attributes:
        patch_size: TRIDENT: px at the target magnification. CLAM: px at `patch_level`.
        patch_level: level of the slide's pyramid that was read (CLAM).
        downsample: level-0 px per px of that level, x and y (CLAM).
        level_dim: (width, height) of that level (CLAM).
        custom_downsample: a further factor of old files.
        patch_size_level0: side in level-0 px (TRIDENT).
        level0_magnification: of level 0 (TRIDENT); no resolution: it is a bin.
        target_magnification: of the patches (TRIDENT); no resolution either.
        level0_width: px (TRIDENT).
        level0_height: px (TRIDENT).
        encoder: name of the encoder (TRIDENT).
        own: what wsikit wrote; see `h5_writer`.
    """

    patch_size: float | None = None
    patch_level: float | None = None
    downsample: tuple[float, ...] | None = None
    level_dim: tuple[float, ...] | None = None
    custom_downsample: float | None = None
    patch_size_level0: float | None = None
    level0_magnification: float | None = None
    target_magnification: float | None = None
    level0_width: float | None = None
    level0_height: float | None = None
    encoder: str | None = None
    own: OwnFacts | None = None


@dataclass(frozen=True)
class OwnFacts:
    """What a file that wsikit wrote says exactly.

    Attributes:
        encoder_id: identity of the encoder and its weights.
        patch_px: side of a patch in px at `mpp`.
        scale: level-0 px per such px, x and y.
        size_l0: (width, height) of the slide in level-0 px.
        mpp_l0: um per level-0 px.
        recipe_id: identity of all that decided the file.
    """

    encoder_id: str
    patch_px: int
    scale: tuple[float, float]
    size_l0: Size
    mpp_l0: Mpp
    recipe_id: str


@dataclass(frozen=True)
class H5Head:
    """What a file holds, known without reading the features.

    Attributes:
        patches: N.
        features: D.
        dtype: of the features in the file.
        facts: what it says of its patches.
    """

    patches: int
    features: int
    dtype: np.dtype[Any]
    facts: H5Facts


@dataclass(frozen=True)
class H5Bag:
    """A slide's features as a file holds them.

    Attributes:
        path: the file.
        features: (N, D) float16 or float32, finite.
        coords: (N, 2) int64, x and y of each patch's corner in level-0 px.
        facts: what the file says of its patches.
    """

    path: Path
    features: NDArray[np.floating[Any]]
    coords: NDArray[np.int64]
    facts: H5Facts
