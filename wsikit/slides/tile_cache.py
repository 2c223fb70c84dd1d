"""Keep the tiles decoded last, so that a read beside the one before decodes no tile twice."""

from __future__ import annotations

from collections import OrderedDict

from wsikit.types import UInt8Image


class TileCache:
    """Hold the most recently used tiles, up to a number of bytes.

    A single tile larger than the limit is held alone: a picture stored as one strip would
    otherwise be decoded whole for each read.

    Args:
        limit: bytes of pixels to hold.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._tiles: OrderedDict[tuple[int, int], UInt8Image] = OrderedDict()

    def get(self, key: tuple[int, int]) -> UInt8Image | None:
        """Return the tile under (level, index), if it is held."""
        tile = self._tiles.get(key)
        if tile is not None:
            self._tiles.move_to_end(key)
        return tile

    def put(self, key: tuple[int, int], tile: UInt8Image) -> None:
        """Hold a tile, letting go of the least recently used ones."""
        self._tiles[key] = tile
        self._held += tile.nbytes
        while self._held > self._limit and len(self._tiles) > 1:
            self._held -= self._tiles.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Let go of every tile."""
        self._tiles.clear()
        self._held = 0
