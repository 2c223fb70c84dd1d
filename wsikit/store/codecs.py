"""Zarr v3 codecs that keep a patch as one JPEG or JPEG XL picture.

`jpeg` and `jpegxl` follow the specifications registered under these names in the Zarr extensions
registry: an (H, W) or (H, W, 1|3) chunk becomes one picture; a channels-first chunk needs a
`transpose` codec in front. wsikit offers both to zarr-python through its entry points.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import imagecodecs
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.abc.codec import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec
from zarr.codecs import BytesCodec, TransposeCodec, ZstdCodec

from wsikit.types import PatchPixels

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

CodecName = Literal["jpeg", "jpegxl", "zstd"]

SUBSAMPLING = {
    "444": ((1, 1), (1, 1), (1, 1)),
    "422": ((2, 1), (1, 1), (1, 1)),
    "420": ((2, 2), (1, 1), (1, 1)),
}
"""Chroma subsampling by its usual name -> sampling factors (horizontal, vertical) of Y, Cb, Cr."""

_TO_CHANNELS_LAST = (1, 2, 0)

ZSTD_LEVEL = 3


def store_codecs(
    name: CodecName, quality: int, subsampling: str
) -> tuple[list[ArrayArrayCodec], ArrayBytesCodec, list[BytesBytesCodec]]:
    """Return the codec chain of a store's image: filters, serializer, compressors.

    Args:
        name: `jpeg` (lossy), `jpegxl` (lossless) or `zstd` (lossless, read by every Zarr reader).
        quality: JPEG quality, 1..100; ignored by the others.
        subsampling: a key of `SUBSAMPLING`; ignored by the others.

    Returns:
        What `zarr.create_array` takes as `filters`, `serializer` and `compressors` for a
        (C, Y, X) uint8 array; `zstd` also takes uint16.
    """
    if name == "zstd":
        return [], BytesCodec(), [ZstdCodec(level=ZSTD_LEVEL)]
    to_picture: list[ArrayArrayCodec] = [TransposeCodec(order=_TO_CHANNELS_LAST)]
    if name == "jpegxl":
        return to_picture, JpegXLCodec(), []
    return to_picture, JpegCodec(quality=quality, subsampling=SUBSAMPLING[subsampling]), []


def patch_encoder(
    name: CodecName, quality: int, subsampling: str
) -> Callable[[PatchPixels], bytes]:
    """Return the function that encodes one patch as `store_codecs` would have zarr do it.

    Args:
        name: see `store_codecs`.
        quality: see `store_codecs`.
        subsampling: see `store_codecs`.

    Returns:
        (height, width, 3) uint8 -> the bytes of its chunk; `zstd` also takes (height, width, 1)
        uint16.
    """
    if name == "zstd":
        zstd = Zstd(level=ZSTD_LEVEL)
        return lambda pixels: bytes(zstd.encode(np.ascontiguousarray(pixels.transpose(2, 0, 1))))
    codec = store_codecs(name, quality, subsampling)[1]
    if not isinstance(codec, _PictureCodec):
        raise TypeError(f"{name} keeps no pictures")
    return codec.encode_picture


def patch_decoder(
    codecs: Sequence[Mapping[str, Any]], shape: tuple[int, int, int], dtype: str
) -> Callable[[bytes], PatchPixels]:
    """Return the function that decodes one patch, given the codecs named in a shard's metadata.

    What it decodes into has a known shape, which bounds what a damaged chunk can allocate.

    Args:
        codecs: the inner `codecs` of the `sharding_indexed` codec, as in `zarr.json`.
        shape: (height, width, channels) of a patch.
        dtype: `uint8` or `uint16`.

    Returns:
        Bytes of the chunk -> (height, width, channels) of that type.

    Raises:
        ValueError: the chain is none that `store_codecs` makes.
    """
    names = tuple(codec["name"] for codec in codecs)
    if names == ("bytes", "zstd"):
        return partial(_decode_zstd, shape, dtype)
    if names[:1] == ("transpose",) and names[1:] in (("jpeg",), ("jpegxl",)):
        kind = JpegCodec if names[1] == "jpeg" else JpegXLCodec
        return partial(_decode_picture, kind.from_dict(dict(codecs[1])), shape, dtype)
    raise ValueError(f"patches are kept by {' + '.join(names)}, which is not known here")


def _decode_zstd(shape: tuple[int, int, int], dtype: str, data: bytes) -> PatchPixels:
    height, width, channels = shape
    out = np.empty((channels, height, width), np.dtype(dtype).newbyteorder("<"))
    Zstd().decode(data, out)
    return np.ascontiguousarray(out.transpose(1, 2, 0), np.dtype(dtype))


def _decode_picture(
    codec: _PictureCodec, shape: tuple[int, int, int], dtype: str, data: bytes
) -> PatchPixels:
    out = np.empty(shape, np.dtype(dtype))
    codec.decode_picture(data, out)
    return out


class _PictureCodec(ArrayBytesCodec):
    """Encode a chunk as one picture; a subclass supplies the two directions."""

    is_fixed_size = False

    @abstractmethod
    def encode_picture(self, pixels: NDArray[Any]) -> bytes:
        """Return the compressed picture of an (H, W) or (H, W, C) array."""

    @abstractmethod
    def decode_picture(self, data: bytes, out: NDArray[Any]) -> None:
        """Decode into `out`, whose shape and type are known; ValueError if they do not fit."""

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        pixels = np.ascontiguousarray(chunk_array.as_numpy_array())
        return chunk_spec.prototype.buffer.from_bytes(self.encode_picture(pixels))

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        # Decoding into an array of the chunk's own shape bounds what a lying header can allocate.
        out = np.empty(chunk_spec.shape, chunk_spec.dtype.to_native_dtype())
        self.decode_picture(chunk_data.to_bytes(), out)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(out)

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return self._encode_sync(chunk_array, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._decode_sync(chunk_data, chunk_spec)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise: a picture's size depends on its content."""
        raise NotImplementedError


@dataclass(frozen=True)
class JpegCodec(_PictureCodec):
    """Keep a uint8 chunk as a baseline JPEG (Zarr extension codec `jpeg`).

    Args:
        quality: 0..100.
        encoded_color_space: `ycbcr`, or None for grey chunks.
        subsampling: (horizontal, vertical) sampling factors per component.
    """

    name: ClassVar[str] = "jpeg"
    quality: int
    encoded_color_space: str | None = "ycbcr"
    subsampling: tuple[tuple[int, int], ...] | None = SUBSAMPLING["420"]

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= 100:
            raise ValueError(f"jpeg codec: quality {self.quality} lies outside 0..100")
        if self.encoded_color_space not in (None, "ycbcr"):
            raise ValueError(f"jpeg codec: colour space {self.encoded_color_space!r} not supported")
        if self.subsampling is not None and self.subsampling not in SUBSAMPLING.values():
            raise ValueError(f"jpeg codec: subsampling {self.subsampling} not supported")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the codec from array metadata."""
        options = dict(data["configuration"])
        factors = options.pop("subsampling", None)
        return cls(
            quality=int(options.pop("quality")),
            encoded_color_space=options.pop("encoded_color_space", None),
            subsampling=None if factors is None else tuple((int(h), int(v)) for h, v in factors),
        )

    def to_dict(self) -> dict[str, Any]:
        """Describe the codec for array metadata."""
        options: dict[str, Any] = {"quality": self.quality}
        if self.encoded_color_space is not None:
            options["encoded_color_space"] = self.encoded_color_space
            options["subsampling"] = [list(pair) for pair in self.subsampling or ()]
        return {"name": self.name, "configuration": options}

    def encode_picture(self, pixels: NDArray[Any]) -> bytes:
        """Return the JPEG of an (H, W) grey or (H, W, 3) RGB uint8 array."""
        if pixels.ndim == 2 or pixels.shape[-1] == 1:
            return bytes(imagecodecs.jpeg8_encode(pixels.squeeze(), level=self.quality))
        return bytes(
            imagecodecs.jpeg8_encode(
                pixels,
                level=self.quality,
                colorspace="RGB",
                outcolorspace="YCBCR",
                subsampling=(self.subsampling or SUBSAMPLING["420"])[0],
            )
        )

    def decode_picture(self, data: bytes, out: NDArray[Any]) -> None:
        """Decode a JPEG into `out`."""
        imagecodecs.jpeg8_decode(data, out=out.squeeze() if out.shape[-1] == 1 else out)


@dataclass(frozen=True)
class JpegXLCodec(_PictureCodec):
    """Keep a uint8 or uint16 chunk as a lossless JPEG XL (Zarr extension codec `jpegxl`).

    Args:
        effort: 1..10; 1 is fastest and on H&E nearly as small.
    """

    name: ClassVar[str] = "jpegxl"
    effort: int = 1

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the codec from array metadata; decoding never depends on it."""
        return cls(effort=int(data["configuration"].get("effort", 1)))

    def to_dict(self) -> dict[str, Any]:
        """Describe the codec for array metadata, all required members given."""
        return {
            "name": self.name,
            "configuration": {
                "lossless": True,
                "distance": 0,
                "effort": self.effort,
                "decodingspeed": 0,
                "photometric": "rgb",
                "primaries": "srgb",
                "transfer": "srgb",
                "bitspersample": 8,
                "usecontainer": False,
            },
        }

    def encode_picture(self, pixels: NDArray[Any]) -> bytes:
        """Return the lossless JPEG XL of a uint8 array."""
        return bytes(
            imagecodecs.jpegxl_encode(
                pixels, lossless=True, effort=self.effort, usecontainer=False, numthreads=1
            )
        )

    def decode_picture(self, data: bytes, out: NDArray[Any]) -> None:
        """Decode a JPEG XL into `out`."""
        imagecodecs.jpegxl_decode(data, out=out, keeporientation=True, numthreads=1)
