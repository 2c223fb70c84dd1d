"""Read a feature file of another tool, trusting nothing in it.

Only plain numbers in this very file are read: no links to elsewhere, no virtual or external data
sets, no objects, no filters but HDF5's own. What would be allocated is checked against the file's
size before it is, because a few bytes of header can promise terabytes. A chunk that was never
written would read as zeros without a word; it is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from h5py import h5z
from numpy.typing import NDArray

from wsikit.errors import SlideError
from wsikit.store.h5_heap import heaps_are_sound
from wsikit.store.h5_layout import COORDS, FEATURES, OWN, H5Bag, H5Facts, H5Head, OwnFacts
from wsikit.types import Mpp, Size

T = TypeVar("T")

MOST_PATCHES = 5_000_000
MOST_FEATURES = 65_536

MOST_RATIO = 64
"""Bytes in memory per byte of file beyond which a file is not believed; features hardly shrink."""

SMALL = 1 << 20
"""Bytes that are always believed."""

MOST_ATTRIBUTE = 1 << 16
"""Bytes of an attribute that are read."""

FILTERS = frozenset(
    (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_SZIP, 32000)
)
"""Filters that come with h5py, 32000 being LZF; another would load a plug-in from the disk."""

LARGEST_COORDINATE = 2**31 - 1

_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, AttributeError)
"""What h5py raises for a damaged file."""

_ENCODER_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_ENCODER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/:@+-]{0,127}")


def read_head(path: Path) -> H5Head:
    """Look at a feature file without reading its features.

    Args:
        path: the file.

    Raises:
        SlideError: it is no such file, or not to be believed.
    """
    with _opened(path) as file:
        features, count, width = _features(file, path)
        coords = _coords(file, path)
        patches = coords.shape[-2]
        if patches != count:
            raise SlideError(
                f"{path.name}: {count} features for {patches} coordinates",
                "extract this slide again",
            )
        facts = replace(_facts(file, coords), encoder=_encoder(features, path))
        return H5Head(count, width, features.dtype, facts)


def read_bag(path: Path) -> H5Bag:
    """Read a feature file.

    Features of 64 bits are cast to 32; 16 and 32 bits stay as they are.

    Args:
        path: the file.

    Raises:
        SlideError: it is no such file, not to be believed, or a feature is not finite.
    """
    head = read_head(path)
    with _opened(path) as file:
        coords = _read_coords(_coords(file, path), path)
        values = _read(file[FEATURES]).reshape(head.patches, head.features)
        dtype = np.float16 if values.dtype.itemsize == 2 else np.float32
        with np.errstate(over="ignore"):
            features = np.ascontiguousarray(values.astype(dtype, copy=False))
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        x, y = coords[bad[0]]
        raise SlideError(
            f"{path.name}: {len(bad)} patches have features that are not finite "
            f"(row {bad[0]}, patch at x {x}, y {y})",
            "extract this slide again",
        )
    return H5Bag(path, features, coords, head.facts)


def read_coords(path: Path) -> tuple[NDArray[np.int64], H5Facts]:
    """Read a patch file: corners, and what it says of its patches.

    Args:
        path: a file with `coords`; further data sets are not looked at.

    Returns:
        (N, 2) int64, x and y in level-0 px; the facts.

    Raises:
        SlideError: it is no such file, or not to be believed.
    """
    with _opened(path) as file:
        coords = _coords(file, path)
        return _read_coords(coords, path), _facts(file, coords)


def written_recipe(path: Path) -> str | None:
    """Return the recipe id of a file that wsikit wrote; None for any other file."""
    try:
        with _opened(path) as file:
            own = _own(_text(file.attrs, OWN))
    except SlideError:
        return None
    return own.recipe_id if own else None


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a file; what goes wrong within the block is told as this file's damage."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MemoryError as error:
        raise SlideError(
            f"{path.name}: does not fit into memory", "use a larger machine"
        ) from error
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SlideError(
            f"{path.name}: cannot be read as HDF5, or is cut short ({reason})",
            "copy it again from its source, or extract this slide again",
        ) from error


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a data set that lies in this very file and holds plain numbers."""
    link = file.get(name, getlink=True)
    if link is None:
        raise SlideError(
            f"{path.name}: holds no '{name}'",
            "give the folder of feature files, as CLAM or TRIDENT wrote them",
        )
    if not isinstance(link, h5py.HardLink):
        raise _refused(path, name, "a link to elsewhere")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise _refused(path, name, "no array")
    if found.is_virtual or found.external:
        raise _refused(path, name, "kept in other files")
    if found.dtype.kind not in "fiu" or found.dtype.itemsize > 8:
        raise _refused(path, name, f"of type {found.dtype}, not plain numbers")
    return found


def _refused(path: Path, name: str, what: str) -> SlideError:
    return SlideError(f"{path.name}: '{name}' is {what}", "such a file is not read")


def _features(file: h5py.File, path: Path) -> tuple[h5py.Dataset, int, int]:
    """Return the features' data set and its (N, D)."""
    data = _dataset(file, FEATURES, path)
    shape = data.shape[1:] if len(data.shape) == 3 and data.shape[0] == 1 else data.shape
    if len(shape) != 2 or data.dtype.kind != "f":
        raise _refused(path, FEATURES, f"{data.dtype} of shape {data.shape}, not (N, D) floats")
    if not (shape[0] <= MOST_PATCHES and 1 <= shape[1] <= MOST_FEATURES):
        raise _refused(path, FEATURES, f"of shape {data.shape}, which is not believed")
    _check_size(data, path)
    return data, shape[0], shape[1]


def _coords(file: h5py.File, path: Path) -> h5py.Dataset:
    """Return the data set of corners, (N, 2) or (1, N, 2)."""
    data = _dataset(file, COORDS, path)
    shape = data.shape[1:] if len(data.shape) == 3 and data.shape[0] == 1 else data.shape
    if len(shape) != 2 or shape[1] != 2 or data.dtype.kind not in "iu":
        raise _refused(
            path, COORDS, f"{data.dtype} of shape {data.shape}, not (N, 2) whole level-0 pixels"
        )
    if shape[0] > MOST_PATCHES:
        raise _refused(path, COORDS, f"of shape {data.shape}, which is not believed")
    _check_size(data, path)
    return data


def _check_size(data: h5py.Dataset, path: Path) -> None:
    """See that an array's bytes are in the file, before memory is taken for them."""
    believed = SMALL + MOST_RATIO * path.stat().st_size
    if data.nbytes > believed:
        raise _refused(path, data.name[1:], f"{data.nbytes:,} bytes in a file of fewer")
    if data.chunks is None:
        absent = data.nbytes > 0 and data.id.get_storage_size() < data.nbytes
    else:
        if math.prod(data.chunks) * data.dtype.itemsize > believed:
            raise _refused(path, data.name[1:], "kept in chunks that the file cannot hold")
        chunks = [-(-side // part) for side, part in zip(data.shape, data.chunks, strict=True)]
        absent = data.id.get_num_chunks() < math.prod(chunks)
    if absent:
        raise SlideError(
            f"{path.name}: a part of '{data.name[1:]}' was never written",
            "extract this slide again",
        )
    created = data.id.get_create_plist()
    for number in range(created.get_nfilters()):
        if created.get_filter(number)[0] not in FILTERS:
            raise _refused(path, data.name[1:], "compressed by a filter that is not known here")


def _read(data: h5py.Dataset) -> NDArray[Any]:
    """Read a checked array, in the machine's own byte order."""
    values = np.asarray(data[()])
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def _read_coords(data: h5py.Dataset, path: Path) -> NDArray[np.int64]:
    values = _read(data).reshape(-1, 2)
    if values.size and (values.min() < 0 or values.max() > LARGEST_COORDINATE):
        raise SlideError(
            f"{path.name}: coordinates from {values.min()} to {values.max()} are no level-0 pixels",
            "they must be x, y in pixels from the slide's top left corner",
        )
    return values.astype(np.int64)


def _encoder(features: h5py.Dataset, path: Path) -> str | None:
    """Return the name that TRIDENT gives the encoder; None where it is no name.

    The name enters the store, so it must not be a text in which anything else may stand.
    """
    if "encoder" not in features.attrs or not heaps_are_sound(path):
        return None
    name = _text(features.attrs, "encoder", of_any_length=True)
    return name if name and name != "None" and _ENCODER_NAME.fullmatch(name) else None


def _facts(file: h5py.File, coords: h5py.Dataset) -> H5Facts:
    """Read the attributes that are known; all others, paths among them, are left unread."""
    said = coords.attrs

    def one(name: str) -> float | None:
        numbers = _numbers(said, name)
        return numbers[0] if numbers and len(numbers) == 1 else None

    return H5Facts(
        patch_size=one("patch_size"),
        patch_level=one("patch_level"),
        downsample=_numbers(said, "downsample"),
        level_dim=_numbers(said, "level_dim"),
        custom_downsample=one("custom_downsample"),
        patch_size_level0=one("patch_size_level0"),
        level0_magnification=one("level0_magnification"),
        target_magnification=one("target_magnification"),
        level0_width=one("level0_width"),
        level0_height=one("level0_height"),
        own=_own(_text(file.attrs, OWN)),
    )


def _numbers(attributes: h5py.AttributeManager, name: str) -> tuple[float, ...] | None:
    """Return an attribute of one or two finite numbers; None where it is anything else."""
    if name not in attributes:
        return None
    stored = attributes.get_id(name)
    shape = stored.shape  # None: the attribute is there and holds nothing
    if stored.dtype.kind not in "iuf" or shape is None or math.prod(shape) not in (1, 2):
        return None
    numbers = tuple(float(number) for number in np.asarray(attributes[name]).ravel())
    return numbers if all(map(math.isfinite, numbers)) else None


def _text(attributes: h5py.AttributeManager, name: str, of_any_length: bool = False) -> str | None:
    """Return an attribute that is one short text; None where it is anything else.

    Args:
        attributes: of a file or data set.
        name: the attribute's.
        of_any_length: whether its length may lie in a heap, which has to be sound then.
    """
    if name not in attributes:
        return None
    stored = attributes.get_id(name)
    text = h5py.check_string_dtype(stored.dtype)
    if text is None or stored.shape != () or not _short(text.length, of_any_length):
        return None
    value = attributes[name]
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return value if len(value) <= MOST_ATTRIBUTE else None


def _short(length: int | None, of_any_length: bool) -> bool:
    return of_any_length if length is None else length <= MOST_ATTRIBUTE


def _own(text: str | None) -> OwnFacts | None:
    """Read what wsikit wrote; None where there is nothing, or not what it writes."""
    if text is None:
        return None

    def told(said: dict[str, Any]) -> OwnFacts:
        width, height = said["size_l0"]
        return OwnFacts(
            encoder_id=_matching(_ENCODER_ID, said["encoder_id"]),
            patch_px=_side(said["patch_px"]),
            scale=_pair(said["scale"]),
            size_l0=Size(_side(width), _side(height)),
            mpp_l0=Mpp(*_pair(said["mpp_l0"])),
            recipe_id=_matching(_ENCODER_ID, said["recipe_id"]),
        )

    return _or_none(lambda: told(json.loads(text)))


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _side(value: Any) -> int:
    if not 1 <= value <= LARGEST_COORDINATE:
        raise ValueError(value)
    return int(value)


def _pair(values: Any) -> tuple[float, float]:
    x, y = (float(value) for value in values)
    if not (math.isfinite(x) and math.isfinite(y) and min(x, y) > 0):
        raise ValueError(values)
    return (x, y)


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(value)
    return str(value)
