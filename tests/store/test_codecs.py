"""The picture codecs against Pillow and against zarr itself."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image

from wsikit.store.codecs import (
    SUBSAMPLING,
    CodecName,
    JpegCodec,
    JpegXLCodec,
    patch_decoder,
    patch_encoder,
    store_codecs,
)


def tissue_like(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size
    waves = [128 + 100 * np.sin(6 * x + k) * np.cos(4 * y - k) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("subsampling", SUBSAMPLING)
def test_a_chunk_is_an_ordinary_jpeg(subsampling: str) -> None:
    image = tissue_like()
    data = JpegCodec(95, subsampling=SUBSAMPLING[subsampling]).encode_picture(image)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "JPEG"
        theirs = np.asarray(picture.convert("RGB"))
    ours = np.empty_like(image)
    JpegCodec(95).decode_picture(data, ours)
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    assert np.abs(ours.astype(int) - image).mean() < 3


def test_subsampling_is_written_as_asked() -> None:
    for name, factors in SUBSAMPLING.items():
        data = JpegCodec(90, subsampling=factors).encode_picture(tissue_like())
        with Image.open(io.BytesIO(data)) as picture:
            layer: Any = picture
            assert (layer.layer[0][1], layer.layer[0][2]) == factors[0], name


@pytest.mark.parametrize("name", ["jpeg", "jpegxl", "zstd"])
def test_zarr_alone_reads_what_was_written(tmp_path: Path, name: CodecName) -> None:
    filters, serializer, compressors = store_codecs(name, 95, "444")
    image = np.ascontiguousarray(tissue_like(128).transpose(2, 0, 1))
    zarr.create_array(
        tmp_path / "a.zarr",
        data=image,
        chunks=(3, 32, 32),
        shards=(3, 64, 64),
        filters=filters,
        serializer=serializer,
        compressors=compressors,
    )
    back = np.asarray(zarr.open_array(tmp_path / "a.zarr", mode="r")[:])  # type: ignore[index]
    error = np.abs(back.astype(int) - image)
    assert error.max() == 0 if name != "jpeg" else error.mean() < 2


@pytest.mark.parametrize("codec", [JpegCodec(90), JpegXLCodec()])
def test_metadata_round_trip(codec: JpegCodec | JpegXLCodec) -> None:
    assert type(codec).from_dict(codec.to_dict()) == codec


def test_jpeg_metadata_is_the_registered_extensions() -> None:
    assert JpegCodec(90).to_dict() == {
        "name": "jpeg",
        "configuration": {
            "quality": 90,
            "encoded_color_space": "ycbcr",
            "subsampling": [[2, 2], [1, 1], [1, 1]],
        },
    }


def test_jpegxl_is_lossless_for_sixteen_bits_too() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (40, 56), dtype=np.uint16)
    back = np.empty_like(image)
    JpegXLCodec().decode_picture(JpegXLCodec().encode_picture(image), back)
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("wrong", [(32, 32, 3), (128, 64, 3), (64, 64, 1)])
def test_a_picture_of_another_size_than_the_chunk_is_refused(wrong: tuple[int, ...]) -> None:
    data = JpegCodec(90).encode_picture(tissue_like(64))
    with pytest.raises((ValueError, RuntimeError)):
        JpegCodec(90).decode_picture(data, np.empty(wrong, np.uint8))


def test_garbage_is_refused() -> None:
    for codec in (JpegCodec(90), JpegXLCodec()):
        with pytest.raises((ValueError, RuntimeError)):
            codec.decode_picture(b"not a picture", np.empty((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    "options", [{"quality": 101}, {"quality": 90, "encoded_color_space": "rgb"}]
)
def test_what_the_codec_cannot_do_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="jpeg codec"):
        JpegCodec(**options)


@pytest.mark.parametrize("name", ["jpeg", "jpegxl", "zstd"])
def test_a_patch_is_encoded_as_zarr_itself_would(tmp_path: Path, name: CodecName) -> None:
    """The chunk file that zarr writes through the codec chain, byte for byte, and back."""
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    filters, serializer, compressors = store_codecs(name, 90, "420")
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(3, 32, 32), chunks=(3, 32, 32), dtype="uint8",
        filters=filters, serializer=serializer, compressors=compressors,
    )  # fmt: skip
    array[:] = pixels.transpose(2, 0, 1)
    (chunk,) = (p for p in (tmp_path / "a.zarr" / "c").rglob("*") if p.is_file())
    assert patch_encoder(name, 90, "420")(pixels) == chunk.read_bytes()
    metadata = json.loads((tmp_path / "a.zarr" / "zarr.json").read_bytes())
    decoded = patch_decoder(metadata["codecs"], (32, 32, 3), "uint8")(chunk.read_bytes())
    np.testing.assert_array_equal(decoded, np.asarray(array[:]).transpose(1, 2, 0))


def test_an_unknown_chain_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bytes \+ gzip, which is not known"):
        patch_decoder([{"name": "bytes"}, {"name": "gzip"}], (8, 8, 3), "uint8")
