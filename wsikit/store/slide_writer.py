"""Write one slide into the store shard by shard; a killed run continues where it stopped.

The slide grows in `.staging/<slide_id>.zarr`. Each finished shard leaves a marker that holds what
was decided about its patches; a shard without a marker is done again. When all markers are there
the index is written and the folder is renamed into `slides/` in one step.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsikit.atomic import replace_folder, whole_file, write_json
from wsikit.geometry import PatchGrid
from wsikit.store.codecs import CodecName, patch_encoder, store_codecs
from wsikit.store.decisions import KEPT, Decisions
from wsikit.store.shard import shard_bytes
from wsikit.store.stored_slide import MISSING, UNDECIDED, WHITE
from wsikit.types import PatchPixels, UInt8Image

SHARD_PATCHES = 8
"""A shard is a square of this many patches a side."""

INDEX_CHUNK = 65536

BLACK = 0

FLUSHED_AT_ONCE = 8
"""Files seen onto the disk together: a journal commits them in one go."""

RGB_CHANNELS = (("R", "FF0000"), ("G", "00FF00"), ("B", "0000FF"))
GREY_CHANNELS = (("grey", "FFFFFF"),)
"""Labels and colours of channels, as OME-Zarr names them."""

FILL = {"f": np.nan, "i": MISSING, "u": UNDECIDED}
"""What a missing part of an array reads as, by the kind of its type: never a value it can have."""


class Judgement(NamedTuple):
    """What was decided about one patch whose pixels were looked at; see `Decisions` for units."""

    row: int
    col: int
    foreground: float
    entropy: float
    reason: int


@dataclass(frozen=True)
class Shard:
    """One shard of the slide's image, by its place in the grid of shards."""

    row: int
    col: int

    @property
    def name(self) -> str:
        """Name of the shard's marker."""
        return f"{self.row}_{self.col}"


@dataclass(frozen=True)
class SlideWriter:
    """Write one slide's patches.

    Args:
        staging: the unfinished slide's `.zarr` directory.
        grid: the slide's patch grid.
        codec: name, JPEG quality and chroma subsampling of the image.
        grey: keep one channel of uint16 in place of RGB; `codec` is then `zstd`.
    """

    staging: Path
    grid: PatchGrid
    codec: tuple[CodecName, int, str]
    grey: bool = False

    @property
    def _markers(self) -> Path:
        return self.staging.with_suffix(".shards")

    def _marker(self, shard: Shard) -> Path:
        return self._markers / f"{shard.name}.json"

    def is_written(self, shard: Shard) -> bool:
        """Tell whether an earlier run finished a shard."""
        return self._marker(shard).exists()

    def has_begun(self, recipe_id: str) -> bool:
        """Tell whether this recipe's empty image is staged already."""
        ready = self._markers / "begun.json"
        try:
            return self.staging.is_dir() and bool(json.loads(ready.read_bytes())["id"] == recipe_id)
        except FileNotFoundError:
            return False

    def begin(
        self, attributes: Mapping[str, Any], thumbnail: UInt8Image | None, survey: Decisions
    ) -> None:
        """Make the slide's group and empty image, in place of whatever is staged.

        Args:
            attributes: what `StoredSlide` reads back; must hold `recipe_id` and `mpp`.
            thumbnail: (h, w, 3) uint8 of the whole slide; None: `finish` is given it.
            survey: what is known before pixels are read: a patch that is `kept` here is still to
                be judged, the rest is dropped for good.
        """
        self.discard()
        self._markers.mkdir(parents=True)
        group = zarr.create_group(self.staging, overwrite=True)
        group.update_attributes({"ome": _ome(attributes, self.grey), "wsikit": dict(attributes)})
        size, patch = self.grid.image_px, self.grid.patch_size
        channels = 1 if self.grey else 3
        filters, serializer, compressors = store_codecs(*self.codec)
        group.create_array(
            "0",
            shape=(channels, size.height, size.width),
            chunks=(channels, patch.height, patch.width),
            shards=(channels, patch.height * SHARD_PATCHES, patch.width * SHARD_PATCHES),
            dtype="uint16" if self.grey else "uint8",
            fill_value=BLACK if self.grey else WHITE,
            filters=filters,
            serializer=serializer,
            compressors=compressors,
            dimension_names=("c", "y", "x"),
        )
        if thumbnail is not None:
            _write_thumbnail(group, thumbnail)
        group.create_group("features")
        group.create_group("graphs")
        np.savez(self._survey, foreground=survey.foreground, reason=survey.reason)
        write_json(self._markers / "begun.json", {"id": attributes["recipe_id"]})

    @property
    def _survey(self) -> Path:
        return self._markers / "survey.npz"

    def survey(self) -> Decisions:
        """Return what was known before pixels were read, as it was given to `begin`."""
        with np.load(self._survey, allow_pickle=False) as held:
            foreground, reason = held["foreground"], held["reason"]
        return Decisions(foreground, np.full(reason.shape, np.nan, np.float32), reason)

    def encoder(self) -> Callable[[PatchPixels], bytes]:
        """Return what turns a patch, as `StoredSlide.read_patch` gives it, into its chunk."""
        return patch_encoder(*self.codec)

    def write_shard(
        self,
        shard: Shard,
        patches: Mapping[tuple[int, int], bytes],
        judged: Sequence[Judgement],
    ) -> None:
        """Write the foreground patches of one shard, then its marker.

        Args:
            shard: which shard.
            patches: (row, col) in the slide's grid -> the patch, from `encoder`.
            judged: what was decided about the shard's patches, the dropped ones too.
        """
        if patches:
            top, left = shard.row * SHARD_PATCHES, shard.col * SHARD_PATCHES
            chunks = {(row - top, col - left): data for (row, col), data in patches.items()}
            path = self._shard_file(shard)
            with whole_file(path) as part:
                part.write_bytes(shard_bytes(chunks, SHARD_PATCHES))
            _begin_flushing(path)
        with whole_file(self._marker(shard)) as part:
            part.write_text(json.dumps(list(judged)))

    def _shard_file(self, shard: Shard) -> Path:
        return self.staging / "0" / "c" / "0" / str(shard.row) / str(shard.col)

    def finish(
        self,
        final: Path,
        index: Mapping[str, NDArray[Any]] | None = None,
        thumbnail: UInt8Image | None = None,
    ) -> None:
        """Write the index and move the slide to its place.

        Args:
            final: the slide's place under `slides/`.
            index: the columns of `PatchIndex`, where patches lie off the grid; default the kept
                patches of the grid.
            thumbnail: where `begin` was given none.
        """
        decisions = self.decisions()
        group = zarr.open_group(self.staging, mode="r+")
        if thumbnail is not None:
            _write_thumbnail(group, thumbnail)
        columns = _index(decisions, self.grid) if index is None else index
        for name, values in columns.items():
            _write_whole(group.require_group("patches"), name, values)
        for name in ("foreground", "entropy", "reason"):
            _write_whole(group.require_group("decisions"), name, getattr(decisions, name))
        files = [path for path in self.staging.rglob("*") if path.is_file()]
        for leftover in (path for path in files if path.suffix in (".partial", ".part")):
            leftover.unlink()
        with ThreadPoolExecutor(FLUSHED_AT_ONCE) as flushers:
            list(flushers.map(_onto_disk, (p for p in files if p.exists())))
        replace_folder(self.staging, final)
        shutil.rmtree(self._markers, ignore_errors=True)

    def decisions(self) -> Decisions:
        """Return what was decided so far: the survey's part, and that of every written shard."""
        decisions = self.survey()
        for marker in self._markers.glob("*_*.json"):
            for row, col, foreground, entropy, reason in json.loads(marker.read_bytes()):
                decisions.foreground[row, col] = foreground
                decisions.entropy[row, col] = entropy
                decisions.reason[row, col] = reason
        return decisions

    def discard(self) -> None:
        """Remove whatever is staged."""
        shutil.rmtree(self._markers, ignore_errors=True)
        shutil.rmtree(self.staging, ignore_errors=True)


def _index(decisions: Decisions, grid: PatchGrid) -> dict[str, NDArray[Any]]:
    """Return the columns of the patch index: kept patches, shard by shard, rows first in each."""
    row, col = np.nonzero(decisions.reason == KEPT)
    order = np.lexsort((col, row, col // SHARD_PATCHES, row // SHARD_PATCHES))
    row, col = row[order], col[order]
    corners = [grid.origin_l0(int(r), int(c)) for r, c in zip(row, col, strict=True)]
    x, y = np.array(corners, np.int32).reshape(-1, 2).T
    return {
        "x": x,
        "y": y,
        "row": row.astype(np.int32),
        "col": col.astype(np.int32),
        "foreground": decisions.foreground[row, col],
        "entropy": decisions.entropy[row, col],
    }


def _write_thumbnail(group: zarr.Group, thumbnail: UInt8Image) -> None:
    channels_first = np.ascontiguousarray(thumbnail.transpose(2, 0, 1))
    group.create_array(
        "thumbnail",
        data=channels_first,
        chunks=channels_first.shape,
        compressors=[ZstdCodec()],
        overwrite=True,
    )


def _write_whole(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    """Write a small array, its fill a value that none of it can have."""
    group.create_array(
        name,
        data=np.ascontiguousarray(values),
        chunks=tuple(min(max(1, side), INDEX_CHUNK) for side in values.shape),
        compressors=[ZstdCodec()],
        fill_value=FILL[values.dtype.kind],
        overwrite=True,
    )


def _begin_flushing(path: Path) -> None:
    """Have a file's bytes go to the disk while work goes on, so that `finish` need not wait."""

    def flush() -> None:
        with suppress(OSError):  # `finish` sees to it again, and says what is wrong
            _onto_disk(path)

    threading.Thread(target=flush, daemon=True).start()


def _onto_disk(path: Path) -> None:
    """See a file's bytes onto the disk, so that what is renamed into place survives a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _ome(attributes: Mapping[str, Any], grey: bool) -> dict[str, Any]:
    """Describe the image as OME-Zarr 0.5; one whose resolution nobody states has no unit."""
    mpp_x, mpp_y = attributes["mpp"]
    unit = {"unit": "micrometer"} if attributes.get("mpp_known", True) else {}
    deepest = int(attributes.get("max_value", WHITE))
    window = {"min": 0, "max": deepest, "start": 0, "end": deepest}
    colours = GREY_CHANNELS if grey else RGB_CHANNELS
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": "patches",
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "y", "type": "space", **unit},
                    {"name": "x", "type": "space", **unit},
                ],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, mpp_y, mpp_x]}
                        ],
                    }
                ],
            }
        ],
        "omero": {
            "channels": [
                {"label": label, "color": color, "active": True, "window": window}
                for label, color in colours
            ],
            "rdefs": {"model": "greyscale" if grey else "color"},
        },
    }
