"""Read one slide of a store: its patches, thumbnail, features and graphs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError

from wsikit.errors import StoreError
from wsikit.geometry import PatchGrid
from wsikit.store.codecs import patch_decoder
from wsikit.store.decisions import Decisions
from wsikit.store.shard import ABSENT, read_chunk, read_shard_index
from wsikit.types import FloatArray, Mpp, PatchPixels, Size, UInt8Image

WHITE = 255

MISSING = -1
"""What a whole number reads as where its chunk is gone; a missing float reads as NaN."""

UNDECIDED = 255
"""What a reason code reads as where its chunk is gone."""

_ABSENCE = (KeyError, NodeNotFoundError, ArrayNotFoundError)
"""What zarr raises for an array that is not there."""

_DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, GroupNotFoundError)
"""What zarr raises for a group or array that is absent or damaged."""


@dataclass(frozen=True)
class PatchIndex:
    """The foreground patches of a slide, in the order their chunks lie on disk.

    Attributes:
        x: (N,) int32, left edge in level-0 px.
        y: (N,) int32, top edge in level-0 px.
        row: (N,) int32, row in the slide's patch grid.
        col: (N,) int32, column in the slide's patch grid.
        foreground: (N,) float32, share of foreground pixels, 0..1.
        entropy: (N,) float32, sum of the three channels' entropies in bits, 0..24.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    foreground: FloatArray
    entropy: FloatArray

    def __len__(self) -> int:
        return len(self.x)

    @property
    def rowcol(self) -> NDArray[np.int64]:
        """(N, 2) int64, row and column."""
        return np.stack([self.row, self.col], axis=1).astype(np.int64)

    @property
    def xy_l0(self) -> NDArray[np.int32]:
        """(N, 2) int32, top left corner in level-0 px."""
        return np.stack([self.x, self.y], axis=1)


_CACHED_BYTES = 1 << 18
"""Of an array that is looked through, so many bytes at a time."""

_KINDS = ((3, "uint8"), (1, "uint16"))
"""Channels and type of the images that there are."""


class _Image(NamedTuple):
    """How the image is kept.

    Attributes:
        shard_side: patches along a shard's side.
        channels: 3 or 1.
        dtype: `uint8` or `uint16`.
        codecs: of a patch, as in `zarr.json`.
    """

    shard_side: int
    channels: int
    dtype: str
    codecs: list[dict[str, Any]]


def _lacks_a_part(values: NDArray[Any]) -> bool:
    """Look for the value that no stored array can have: what a chunk that is gone reads as."""
    rows = max(1, _CACHED_BYTES // max(1, values[:1].nbytes))  # temporaries stay in the cache
    blocks = (values[top : top + rows] for top in range(0, len(values), rows))
    return any(bool(_is_missing(block).any()) for block in blocks)


def _is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype == np.float16:  # by its bits: NumPy's isnan takes 8 times as long
        return np.asarray((values.view(np.uint16) & 0x7FFF) > 0x7C00)
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.asarray(values == (UNDECIDED if values.dtype.kind == "u" else MISSING))


def as_rgb(pixels: PatchPixels, max_value: int) -> UInt8Image:
    """Return a stored patch as 8-bit RGB, as a thumbnail shows it.

    Args:
        pixels: (H, W, 3) uint8, or (H, W, 1) uint16.
        max_value: what white is in grey.
    """
    if pixels.dtype == np.uint8:
        return pixels
    grey = np.minimum(pixels.astype(np.uint32) * WHITE // max_value, WHITE).astype(np.uint8)
    return np.repeat(grey, 3, axis=2)


class StoredSlide:
    """Open one slide's Zarr group for reading.

    Args:
        path: the slide's `.zarr` directory.
        slide_id: its id, for messages.

    Raises:
        StoreError: the group is damaged or was not made by wsikit.
    """

    def __init__(self, path: Path, slide_id: str) -> None:
        self.path = path
        self.slide_id = slide_id
        try:
            self._group = zarr.open_group(path, mode="r")
            self.attributes = cast(dict[str, Any], self._group.attrs.asdict()["wsikit"])
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StoreError:
        why = f"it has no {error}" if isinstance(error, _ABSENCE) else error
        return StoreError(
            f"{self.path}: the stored slide cannot be read ({why})",
            "make it again: the same command with --overwrite and --slide, or tile --overwrite",
        )

    @cached_property
    def patches(self) -> PatchIndex:
        """The slide's foreground patches.

        Raises:
            StoreError: the index is damaged.
        """
        columns = {f.name: self._read(f"patches/{f.name}") for f in fields(PatchIndex)}
        return PatchIndex(**columns)

    @property
    def patch_count(self) -> int:
        """Number of `patches`, without reading them; raises as they do."""
        try:
            return int(self._array("patches/x").shape[0])
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _read(self, name: str, rows: slice = slice(None)) -> NDArray[Any]:
        """Read an array, or rows of it; what is missing was given an impossible value."""
        try:
            values = np.asarray(self._array(name)[rows])
        except _DAMAGE as error:
            raise self._damaged(error) from error
        if _lacks_a_part(values):
            raise self._damaged(ValueError(f"a part of {name} is missing"))
        return values

    @cached_property
    def decisions(self) -> Decisions:
        """What was decided about every patch of the grid.

        Raises:
            StoreError: they are damaged.
        """
        foreground, reason = self._read("decisions/foreground"), self._read("decisions/reason")
        try:
            entropy = np.asarray(self._array("decisions/entropy")[:])  # NaN is a value here
            return Decisions(foreground, entropy, reason)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _array(self, name: str) -> zarr.Array[Any]:
        return cast("zarr.Array[Any]", self._group[name])

    @property
    def recipe_id(self) -> str:
        """Identity of the recipe that made the patches."""
        return str(self.attributes["recipe_id"])

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe that made the patches: the store's, and the source's identity."""
        return dict(self.attributes["recipe"])

    @property
    def grid(self) -> PatchGrid:
        """The patch grid over the slide."""
        scale = self.attributes["scale"]
        return PatchGrid(
            Size(*self.attributes["size_l0"]),
            (float(scale[0]), float(scale[1])),
            int(self.attributes["patch_px"]),
            self.attributes.get("patch_height"),
        )

    @property
    def patch_size(self) -> Size:
        """Width and height of a patch in store px."""
        return self.grid.patch_size

    @property
    def max_value(self) -> int:
        """What white is: 255 for RGB; for 16-bit grey what the source's own depth allows."""
        return int(self.attributes.get("max_value", WHITE))

    @property
    def is_collection(self) -> bool:
        """Whether the patches are separate pictures, stacked in one column, and no one image."""
        return "pictures" in self.attributes

    @property
    def pictures(self) -> list[dict[str, Any]]:
        """What is known of each picture of a collection, in index order; empty of a tiled slide.

        Among the keys: `boxes`, a list of (x, y, width, height) of lesions in px of the picture.
        """
        facts = self.attributes.get("pictures", [])
        return [dict(facts[row]) for row in self.patches.row.tolist()] if facts else []

    @property
    def origins(self) -> frozenset[str]:
        """Digests of what the pictures of a collection were made of; empty where none is recorded.

        Two slides that share one show the same picture, or parts of it.
        """
        facts = self.attributes.get("pictures", [])
        return frozenset(str(own["origin"]) for own in facts if "origin" in own)

    @property
    def is_cut_to_size(self) -> bool:
        """Whether its pictures are cuts brought to one size, as a lesion or a breast fills them.

        Their mpp then follows from what is shown, and says nothing of how fine the source is.
        """
        return any("scale" in own for own in self.attributes.get("pictures", []))

    @property
    def mpp_known(self) -> bool:
        """Whether `mpp` is known; it is 1.0, a unit of pixels, where no file or user states it."""
        return bool(self.attributes.get("mpp_known", True))

    @property
    def mpp(self) -> Mpp:
        """Micrometres per store pixel, the true value; see `mpp_known`."""
        return Mpp(*self.attributes["mpp"])

    @property
    def mpp_l0(self) -> Mpp:
        """Micrometres per level-0 pixel."""
        return Mpp(*self.attributes["mpp_l0"])

    @property
    def has_pixels(self) -> bool:
        """Whether the patches' pixels are stored; an ingested slide has features alone."""
        return bool(self.attributes.get("pixels", True))

    def require_pixels(self) -> None:
        """Raise StoreError where only features are stored."""
        if not self.has_pixels:
            raise StoreError(
                f"slide '{self.slide_id}' was ingested with features alone and has no pixels",
                "tile the slide itself into another store to do this",
            )

    def read_patch(self, index: int) -> PatchPixels:
        """Return patch `index`, white where it overhangs the slide.

        Returns:
            (H, W, 3) uint8 RGB, or (H, W, 1) uint16 grey from 0 to `max_value`; H and W are those
            of `patch_size`.

        Raises:
            StoreError: the chunk is damaged, or the slide has no pixels.
        """
        self.require_pixels()
        row, col = int(self.patches.row[index]), int(self.patches.col[index])
        try:
            return self._decode(self._chunk(row, col))
        except _DAMAGE as error:
            raise StoreError(
                f"{self.path.name}: patch at row {row}, column {col} cannot be decoded ({error})",
                f"{'ingest' if self.is_collection else 'tile'} the slide again with --overwrite",
            ) from error

    def read_rgb(self, index: int) -> UInt8Image:
        """Return patch `index` as one sees it: (H, W, 3) uint8, of 16-bit grey its 8 highest bits.

        Raises:
            StoreError: the chunk is damaged, or the slide has no pixels.
        """
        return as_rgb(self.read_patch(index), self.max_value)

    def _chunk(self, row: int, col: int) -> bytes:
        """Return the encoded patch at a place of the grid."""
        side = self._image.shard_side
        path = self.path / "0" / "c" / "0" / str(row // side) / str(col // side)
        if path not in self._shard_indices:
            self._shard_indices[path] = read_shard_index(path, side)
        offset, length = self._shard_indices[path][row % side, col % side].tolist()
        if offset == ABSENT:
            raise ValueError("it is missing")
        return read_chunk(path, offset, length)

    @cached_property
    def _shard_indices(self) -> dict[Path, NDArray[np.uint64]]:
        return {}

    @cached_property
    def _image(self) -> _Image:
        metadata = json.loads((self.path / "0" / "zarr.json").read_bytes())
        (sharding,) = metadata["codecs"]
        side = metadata["chunk_grid"]["configuration"]["chunk_shape"][1]
        inner = sharding["configuration"]
        channels, height, width = inner["chunk_shape"]
        if (width, height) != self.patch_size or (channels, metadata["data_type"]) not in _KINDS:
            raise ValueError(f"chunks of {inner['chunk_shape']} {metadata['data_type']}")
        return _Image(side // height, channels, metadata["data_type"], inner["codecs"])

    @cached_property
    def _decode(self) -> Callable[[bytes], PatchPixels]:
        (width, height), image = self.patch_size, self._image
        return patch_decoder(image.codecs, (height, width, image.channels), image.dtype)

    @property
    def is_grey(self) -> bool:
        """Whether patches are 16-bit grey and not RGB.

        Raises:
            StoreError: the image's description is damaged.
        """
        try:
            return self._image.channels == 1
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def thumbnail(self) -> UInt8Image:
        """Return the whole slide, background too, as (h, w, 3) uint8; not stain-normalised."""
        try:
            pixels = np.asarray(self._array("thumbnail")[:])
        except _DAMAGE as error:
            raise self._damaged(error) from error
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    @property
    def thumbnail_scale(self) -> tuple[float, float]:
        """Level-0 pixels per thumbnail pixel along x and y."""
        x, y = self.attributes["thumbnail_scale"]
        return (float(x), float(y))

    def encoder_ids(self) -> list[str]:
        """List the encoders whose features are stored, sorted."""
        return self._members("features")

    def graph_ids(self) -> list[str]:
        """List the graphs that are stored, sorted."""
        return self._members("graphs")

    def _members(self, group: str) -> list[str]:
        folder = self.path / group
        return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []

    def features(self, encoder_id: str) -> NDArray[np.floating[Any]]:
        """Return (N, D) float16 or float32 features, one row a patch in index order.

        Raises:
            StoreError: there are none by that encoder, or they do not match the patches.
        """
        self._features_array(encoder_id)
        return cast("NDArray[np.floating[Any]]", self._read(f"features/{encoder_id}"))

    def feature_width(self, encoder_id: str) -> int:
        """Return D of `features`, without reading them; raises as it does."""
        return int(self._features_array(encoder_id).shape[1])

    def feature_dtype(self, encoder_id: str) -> np.dtype[Any]:
        """Return the type of `features`, without reading them; raises as it does."""
        return np.dtype(self._features_array(encoder_id).dtype)

    def feature_blocks(self, encoder_id: str) -> Iterator[NDArray[np.floating[Any]]]:
        """Yield the rows of `features` in their order, a chunk at a time; raises as it does."""
        array = self._features_array(encoder_id)
        for start in range(0, array.shape[0], array.chunks[0]):
            rows = slice(start, start + array.chunks[0])
            yield cast("NDArray[np.floating[Any]]", self._read(f"features/{encoder_id}", rows))

    def _features_array(self, encoder_id: str) -> zarr.Array[Any]:
        command = "wsikit extract" if self.has_pixels else "wsikit ingest"
        array = self._derived(f"features/{encoder_id}", command)
        if array.ndim != 2 or array.shape[0] != len(self.patches):
            count = array.shape[0] if array.ndim == 2 else f"an array of shape {array.shape} as"
            raise StoreError(
                f"{self.path.name}: {count} features for {len(self.patches)} patches",
                f"run {command} with --overwrite",
            )
        return array

    def graph(self, graph_id: str) -> tuple[NDArray[np.int64], FloatArray]:
        """Return a graph: edge_index (2, E) int64 and distance (E,) float32.

        Raises:
            StoreError: there is none by that id, or it is not one of this slide's patches.
        """
        names = [f"graphs/{graph_id}/{part}" for part in ("edge_index", "distance")]
        for name in names:
            self._derived(name, "wsikit graph")
        edges, distance = self._read(names[0]), self._read(names[1])
        fitting = distance.ndim == 1 and edges.shape == (2, len(distance))
        if not fitting or (edges.size and not 0 <= edges.min() <= edges.max() < self.patch_count):
            raise StoreError(
                f"{self.path.name}: {names[0]} does not fit the slide's {self.patch_count} patches",
                "run wsikit graph with --overwrite",
            )
        return edges, distance

    def derived_attributes(self, name: str) -> dict[str, Any]:
        """Return what is recorded about `features/<id>` or `graphs/<id>`; empty if absent.

        Raises:
            StoreError: it is there and damaged.
        """
        try:
            return dict(self._group[name].attrs.asdict())
        except _ABSENCE:
            return {}
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _derived(self, name: str, command: str) -> zarr.Array[Any]:
        try:
            return self._array(name)
        except _ABSENCE:
            raise StoreError(
                f"slide '{self.slide_id}' has no {name}", f"make it with {command}"
            ) from None
        except _DAMAGE as error:
            raise self._damaged(error) from error
