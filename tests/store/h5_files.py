"""Write feature files as CLAM and TRIDENT write them, with h5py alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Coords = NDArray[np.int64]


def append(path: Path, name: str, values: NDArray[Any], attributes: dict[str, Any] | None) -> None:
    """Append rows as both tools do: one row a chunk, no end set, attributes with the first rows."""
    with h5py.File(path, "a") as file:
        if name in file:
            data = file[name]
            data.resize(len(data) + len(values), axis=0)
            data[-len(values) :] = values
            return
        data = file.create_dataset(
            name, values.shape, values.dtype,
            maxshape=(None, *values.shape[1:]), chunks=(1, *values.shape[1:]),
        )  # fmt: skip
        data[:] = values
        for key, value in (attributes or {}).items():
            data.attrs[key] = value


def grid_coords(cols: int, rows: int, step: int, start: tuple[int, int] = (0, 0)) -> Coords:
    """Corners of a raster, column by column, as both tools go over it."""
    x, y = np.meshgrid(np.arange(cols) * step, np.arange(rows) * step, indexing="ij")
    return np.stack([x.ravel() + start[0], y.ravel() + start[1]], axis=1).astype(np.int64)


def random_features(count: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def clam_features(path: Path, features: NDArray[Any], coords: Coords, batch: int = 5) -> None:
    """CLAM's feature file: float32 features, int32 coords, batch by batch, no attributes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(coords), batch):
        rows = slice(start, start + batch)
        append(path, "features", features[rows].astype(np.float32), None)
        append(path, "coords", coords[rows].astype(np.int32), None)


def clam_patches(
    path: Path,
    contours: list[Coords],
    patch_size: int,
    level: int,
    downsample: tuple[float, float],
    level_dim: tuple[int, int],
) -> None:
    """CLAM's patch file: coords contour by contour, attributes with the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    attributes = {
        "patch_size": patch_size,
        "patch_level": level,
        "downsample": downsample,
        "downsampled_level_dim": tuple(np.array(level_dim)),
        "level_dim": level_dim,
        "name": path.stem,
        "save_path": "/somewhere/patches",
    }
    for contour in contours:
        append(path, "coords", contour, attributes)


def trident_features(
    path: Path,
    features: NDArray[Any],
    coords: Coords,
    *,
    patch_size: int = 256,
    own: int = 40,
    target: int = 20,
    size: tuple[int, int] | None = None,
    encoder: str | None = None,
    **more: Any,
) -> None:
    """TRIDENT's feature file: coords with the attributes of the patch file, absent ones 'None'."""
    path.parent.mkdir(parents=True, exist_ok=True)
    attributes = {
        "patch_size": patch_size,
        "patch_size_level0": patch_size * own // target,
        "level0_magnification": own,
        "target_magnification": target,
        "overlap": 0,
        "name": path.stem,
        "savetodir": "/somewhere/20x",
        **more,
    }
    if size is not None:
        attributes |= {"level0_width": size[0], "level0_height": size[1]}
    about = {"name": path.stem, "savetodir": "/somewhere", "encoder": encoder or "None"}
    append(path, "features", features, about)
    append(path, "coords", coords, attributes)
