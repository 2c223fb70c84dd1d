"""Write one slide into the store shard by shard; a killed run continues where it stopped.

The slide grows in `.staging/<slide_id>.zarr`. Each finished shard leaves a marker that holds its
rows of the patch index; a shard without a marker is done again. When all markers are there the
index is written and the folder is renamed into `slides/` in one step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from wsikit.atomic import replace_folder, write_json
from wsikit.geometry import PatchGrid
from wsikit.store.codecs import CodecName, store_codecs
from wsikit.store.stored_slide import MISSING, WHITE, PatchIndex
from wsikit.types import UInt8Image

SHARD_PATCHES = 8
"""A shard is a square of this many patches a side."""

INDEX_CHUNK = 65536

_COLUMN_TYPE = {
    "x": "int32",
    "y": "int32",
    "row": "int32",
    "col": "int32",
    "foreground": "float32",
    "entropy": "float32",
}


@dataclass(frozen=True)
class PatchEntry:
    """One row of the patch index; see `PatchIndex` for units."""

    x: int
    y: int
    row: int
    col: int
    foreground: float
    entropy: float


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
    """

    staging: Path
    grid: PatchGrid

    @property
    def _markers(self) -> Path:
        return self.staging.with_suffix(".shards")

    def shards(self) -> list[Shard]:
        """List every shard, row by row."""
        down = -(-self.grid.rows // SHARD_PATCHES)
        across = -(-self.grid.cols // SHARD_PATCHES)
        return [Shard(r, c) for r in range(down) for c in range(across)]

    def pending(self) -> list[Shard]:
        """List the shards that are not yet written, row by row."""
        return [s for s in self.shards() if not self._marker(s).exists()]

    def _marker(self, shard: Shard) -> Path:
        return self._markers / f"{shard.name}.json"

    def begin(
        self,
        attributes: Mapping[str, Any],
        thumbnail: UInt8Image,
        codec: tuple[CodecName, int, str],
    ) -> None:
        """Make the slide's group and empty image, unless this recipe's are there already.

        Args:
            attributes: what `StoredSlide` reads back; must hold `recipe_id` and `mpp`.
            thumbnail: (h, w, 3) uint8 of the whole slide.
            codec: name, JPEG quality and chroma subsampling of the image.
        """
        ready = self._markers / "begun.json"
        if self.staging.is_dir() and ready.exists():
            begun = json.loads(ready.read_bytes())
            if begun == {"id": attributes["recipe_id"]}:
                return
        self.discard()
        self._markers.mkdir(parents=True)
        group = zarr.create_group(self.staging, overwrite=True)
        group.update_attributes({"ome": _ome(attributes), "wsikit": dict(attributes)})
        size, patch = self.grid.image_px, self.grid.patch_px
        filters, serializer, compressors = store_codecs(*codec)
        group.create_array(
            "0",
            shape=(3, size.height, size.width),
            chunks=(3, patch, patch),
            shards=(3, patch * SHARD_PATCHES, patch * SHARD_PATCHES),
            dtype="uint8",
            fill_value=WHITE,
            filters=filters,
            serializer=serializer,
            compressors=compressors,
            dimension_names=("c", "y", "x"),
        )
        channels_first = np.ascontiguousarray(thumbnail.transpose(2, 0, 1))
        group.create_array(
            "thumbnail", data=channels_first, chunks=channels_first.shape, compressors=[ZstdCodec()]
        )
        group.create_group("features")
        group.create_group("graphs")
        write_json(ready, {"id": attributes["recipe_id"]})

    def write_shard(
        self,
        shard: Shard,
        patches: Mapping[tuple[int, int], UInt8Image],
        rows: Sequence[PatchEntry],
    ) -> None:
        """Write the foreground patches of one shard, then its marker.

        Args:
            shard: which shard.
            patches: (row, col) in the slide's grid -> (size, size, 3) uint8.
            rows: their index entries.
        """
        if patches:
            patch = self.grid.patch_px
            side = patch * SHARD_PATCHES
            top, left = shard.row * side, shard.col * side
            size = self.grid.image_px
            height, width = min(side, size.height - top), min(side, size.width - left)
            block = np.full((3, height, width), WHITE, np.uint8)
            for (row, col), pixels in patches.items():
                y, x = row * patch - top, col * patch - left
                target = block[:, y : y + patch, x : x + patch]
                target[:] = pixels.transpose(2, 0, 1)[:, : target.shape[1], : target.shape[2]]
            array = zarr.open_array(self.staging / "0", mode="r+")
            array[:, top : top + height, left : left + width] = block
        write_json(self._marker(shard), {"patches": [asdict(entry) for entry in rows]})

    def finish(self, final: Path) -> int:
        """Write the index, move the slide to its place and return its number of patches.

        Args:
            final: the slide's place under `slides/`.
        """
        entries: list[dict[str, float]] = []
        for shard in self.shards():
            entries += json.loads(self._marker(shard).read_bytes())["patches"]
        group = zarr.open_group(self.staging, mode="r+").require_group("patches")
        for column in fields(PatchIndex):
            values = np.array([e[column.name] for e in entries], _COLUMN_TYPE[column.name])
            group.create_array(
                column.name,
                data=values,
                chunks=(min(max(1, len(values)), INDEX_CHUNK),),
                compressors=[ZstdCodec()],
                fill_value=np.nan if values.dtype.kind == "f" else MISSING,
                overwrite=True,
            )
        for leftover in self.staging.rglob("*.partial"):
            leftover.unlink()
        replace_folder(self.staging, final)
        shutil.rmtree(self._markers, ignore_errors=True)
        return len(entries)

    def discard(self) -> None:
        """Remove whatever is staged."""
        shutil.rmtree(self._markers, ignore_errors=True)
        shutil.rmtree(self.staging, ignore_errors=True)


def _ome(attributes: Mapping[str, Any]) -> dict[str, Any]:
    mpp_x, mpp_y = attributes["mpp"]
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": "patches",
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "y", "type": "space", "unit": "micrometer"},
                    {"name": "x", "type": "space", "unit": "micrometer"},
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
                {
                    "label": label,
                    "color": color,
                    "active": True,
                    "window": {"min": 0, "max": 255, "start": 0, "end": 255},
                }
                for label, color in (("R", "FF0000"), ("G", "00FF00"), ("B", "0000FF"))
            ],
            "rdefs": {"model": "color"},
        },
    }
