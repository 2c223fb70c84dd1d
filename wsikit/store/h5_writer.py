"""Write a slide's features as CLAM and TRIDENT keep them.

Both tools call a number `patch_size`, and mean different things where patches are coarser than
level 0: TRIDENT pixels at the target magnification, CLAM pixels of `patch_level`. So there are two
layouts. `trident` also carries CLAM's attributes where they are true, that is where patches were
read at a level of the slide's own pyramid; `clam` falls back to level 0 where they were not.

Differences from both: no `save_path`, no `savetodir` (paths of a machine), chunks of many rows
instead of one, and no TRIDENT magnification bin: where TRIDENT wants a magnification it gets
10 / (um per px), which is TRIDENT's own rule the other way round and makes it read the very squares
of the store. Pixels that are not square (mpp x differs from y) have no place in either layout;
their width is written, and both numbers stand in the attribute `wsikit`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from wsikit.atomic import whole_file
from wsikit.geometry import PatchGrid
from wsikit.store.h5_disk import Disk
from wsikit.store.h5_geometry import level_of_scale, on_grid
from wsikit.store.h5_layout import COORDS, FEATURES, OWN, UM_PER_PX_AT_1X, Layout
from wsikit.types import Mpp

ROWS = 1024
"""Rows a chunk holds; a bag is then read in few pieces."""


@dataclass(frozen=True)
class H5Description:
    """What is written beside a slide's features.

    Attributes:
        slide_id: the slide.
        encoder_id: identity of the encoder and its weights.
        recipe_id: identity of all that decided the file.
        grid: the slide's patch grid.
        mpp_l0: um per level-0 px.
        mpp: um per px of a patch.
        downsamples: level of the slide's pyramid -> its downsample, as far as known.
    """

    slide_id: str
    encoder_id: str
    recipe_id: str
    grid: PatchGrid
    mpp_l0: Mpp
    mpp: Mpp
    downsamples: Mapping[int, float] = field(default_factory=dict)


def write_bag(
    path: Path,
    description: H5Description,
    layout: Layout,
    coords: NDArray[np.int64],
    width: int,
    dtype: np.dtype[Any],
    blocks: Iterable[NDArray[np.floating[Any]]],
) -> None:
    """Write one slide's file, whole or not at all, holding one block of features at a time.

    The same content gives the same bytes.

    Args:
        path: the file.
        description: what stands beside the features.
        layout: whose meaning `patch_size` has.
        coords: (N, 2) int64, x and y of each patch's corner in level-0 px.
        width: D.
        dtype: of the features in the file.
        blocks: the features' rows in the order of `coords`, (rows, D) each.

    Raises:
        UsageError: the file cannot be written.
    """
    count = len(coords)
    with whole_file(path) as temporary, FileIO(temporary, "w+") as written:
        disk = Disk(written)
        with h5py.File(disk, "w") as file:
            features = file.create_dataset(
                FEATURES, (count, width), dtype, maxshape=(None, width), chunks=(ROWS, width)
            )
            start = 0
            for block in blocks:
                features[start : start + len(block)] = block
                start += len(block)
                disk.check()
            features.attrs["name"] = description.slide_id
            features.attrs["encoder"] = description.encoder_id
            corners = file.create_dataset(
                COORDS, data=coords, maxshape=(None, 2), chunks=(ROWS, 2), dtype=np.int64
            )
            regular = on_grid(coords, description.grid)
            for name, value in _attributes(description, layout, regular).items():
                corners.attrs[name] = value
            # Bytes of a fixed length lie beside the attribute itself and are safe to read.
            file.attrs[OWN] = np.bytes_(json.dumps(_own(description), sort_keys=True).encode())
        disk.check()
        os.fsync(written.fileno())


def _attributes(description: H5Description, layout: Layout, regular: bool) -> dict[str, Any]:
    """Return the attributes of `coords`; of an irregular raster nobody knows the overlap."""
    grid = description.grid
    side = grid.side_l0()[0]
    shared: dict[str, Any] = {
        "name": description.slide_id,
        "patch_size_level0": side,
        "level0_width": grid.slide_px.width,
        "level0_height": grid.slide_px.height,
    }
    if regular:
        shared["overlap"] = 0
    level = level_of_scale(grid.scale, description.downsamples)
    if level is not None:
        shared |= {"patch_size": grid.patch_px, **_level(grid, level, grid.scale)}
    elif layout == "clam":
        shared |= {"patch_size": side, **_level(grid, 0, (1.0, 1.0))}
    else:
        shared["patch_size"] = grid.patch_px
    if layout == "trident":
        shared["level0_magnification"] = UM_PER_PX_AT_1X / description.mpp_l0.x
        shared["target_magnification"] = UM_PER_PX_AT_1X / description.mpp.x
    return shared


def _level(grid: PatchGrid, level: int, downsample: tuple[float, float]) -> dict[str, Any]:
    """Return what CLAM says of the pyramid level it reads."""
    size = [
        max(1, round(side / down))
        for side, down in zip(grid.slide_px, downsample, strict=True)
    ]  # fmt: skip
    return {
        "patch_level": level,
        "downsample": downsample,
        "level_dim": size,
        "downsampled_level_dim": size,
    }


def _own(description: H5Description) -> dict[str, Any]:
    """Return what only wsikit reads back; see `OwnFacts`."""
    return {
        "encoder_id": description.encoder_id,
        "mpp_l0": list(description.mpp_l0),
        "patch_px": description.grid.patch_px,
        "recipe_id": description.recipe_id,
        "scale": list(description.grid.scale),
        "size_l0": list(description.grid.slide_px),
    }
