"""The sound slides that mutants are made of: one of each format that can be made or had here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.conformance.slide_conformance import pattern, pyramid_of
from tests.slides.mutant_fields import (
    Field,
    bmp_fields,
    codestream_fields,
    dicom_fields,
    directory_offsets,
    png_fields,
    tiff_fields,
)
from tests.slides.mutations import Original, Part

APERIO = "Aperio Image Library v11.2.1 \r\n712x520 (128x128) {codec}|AppMag = 20|MPP = 0.4990"

_SVS_TILES = (4, 3)
"""Tiles across and down that are cut out of the real slide."""


def made_originals() -> list[Original]:
    """Return slides made on the spot, so that no data need be at hand."""
    levels = pyramid_of(pattern(520, 712) // 4 * 3 + 30, 3)
    return [
        _tiff("made.svs", lambda file: _svs(file, levels, "jpeg", "JPEG/RGB Q=70")),
        _tiff("made-j2k.svs", lambda file: _svs(file, levels, 33005, "J2K/RGB")),
        _with_compression(
            _tiff("made-yuv.svs", lambda file: _svs(file, levels, 33005, "J2K/YUV16")), 33003
        ),
        _tiff("made.ome.tif", lambda file: _ome(file, levels)),
        _tiff("pyramid.tif", lambda file: _pyramid(file, levels, "jpeg", False)),
        _tiff("big.tif", lambda file: _pyramid(file, levels, "zstd", True)),
        _tiff("strips.tif", lambda file: _strips(file, levels[1], "lzw")),
        _tiff("packed.tiff", lambda file: _strips(file, levels[1], "packbits")),
        _tiff("plain.tiff", lambda file: _pyramid(file, levels[1:], None, False)),
        _tiff("named.ndpi", lambda file: _svs(file, levels, "jpeg", "JPEG/RGB Q=70")),
        _tiff("named.bif", lambda file: _pyramid(file, levels, "jpeg", False)),
        *_pictures(levels[1]),
    ]


def real_originals(data: Path) -> list[Original]:
    """Return real slides, the large one also as a piece that keeps its own tiles and header."""
    svs = (data / "slides" / "cmu-1-small-region.svs").read_bytes()
    twin = sorted((data / "slides" / "cmu-1-small-region-dicom").glob("*.dcm"))
    small = [path for path in twin if path.stat().st_size < 120_000]
    overview = (data / "slides" / "camelyon-overview.dcm").read_bytes()
    piece = _tiff("piece.svs", lambda file: _svs_piece(file, svs))
    histology = (data / "breakhis" / "SOB_B_A-14-22549AB-100-001.png").read_bytes()
    whole_tif = (data / "idc" / "8865.tif").read_bytes()
    return [
        piece,
        Original("whole.svs", {"whole.svs": _tiff_part(svs)}),
        piece,
        Original(
            "dicom", {p.name: Part(p.read_bytes(), dicom_fields(p.read_bytes())) for p in small}
        ),
        Original("overview.dcm", {"overview.dcm": Part(overview, dicom_fields(overview))}),
        Original("whole.tif", {"whole.tif": _tiff_part(whole_tif)}),
        Original("real.png", {"real.png": Part(histology, png_fields(histology), sealed=True)}),
    ]


def _tiff(name: str, write: Callable[[BytesIO], None]) -> Original:
    file = BytesIO()
    write(file)
    return Original(name, {name: _tiff_part(file.getvalue())})


def _tiff_part(data: bytes) -> Part:
    return Part(data, tiff_fields(data), directory_offsets(data))


def _with_compression(original: Original, compression: int) -> Original:
    file = BytesIO(original.parts[original.name].data)
    with tifffile.TiffFile(file, mode="r+b") as tiff:
        for page in tiff.pages:
            if page.compression == 33005:
                page.tags["Compression"].overwrite(compression)
        data = file.getvalue()
    return Original(original.name, {original.name: _tiff_part(data)})


def _svs(file: BytesIO, levels: Sequence[np.ndarray], compression: str | int, codec: str) -> None:
    """Write a slide as Aperio's scanners do, thumbnail, label and macro too."""
    described = APERIO.format(codec=codec)
    tiled = {"tile": (128, 128), "compression": compression, "photometric": "rgb"}
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(levels[0], **tiled, description=described, metadata=None)
        tiff.write(levels[2], photometric="rgb", description="Aperio thumb", metadata=None)
        tiff.write(levels[1], **tiled, description=described, metadata=None)
        tiff.write(
            levels[2][:60, :40], photometric="rgb", compression="lzw", predictor=True,
            subfiletype=1, description="Aperio Image Library\r\nlabel 40x60", metadata=None,
        )  # fmt: skip
        tiff.write(
            levels[2][:50, :90], photometric="rgb", compression="jpeg",
            subfiletype=9, description="Aperio Image Library\r\nmacro 90x50", metadata=None,
        )  # fmt: skip


def _svs_piece(file: BytesIO, whole: bytes) -> None:
    """Write the first tiles of a real slide as they are, under its own description."""
    with tifffile.TiffFile(BytesIO(whole)) as source:
        page = source.pages.first
        across = -(-page.imagewidth // page.tilewidth)
        cols, rows = _SVS_TILES
        places = [row * across + col for row in range(rows) for col in range(cols)]
        tiles = [
            whole[page.dataoffsets[i] : page.dataoffsets[i] + page.databytecounts[i]]
            for i in places
        ]
        with tifffile.TiffWriter(file) as tiff:
            tiff.write(
                iter(tiles), shape=(rows * 240, cols * 240, 3), dtype=np.uint8, tile=(240, 240),
                compression="jpeg", photometric="rgb", jpegtables=page.jpegtables,
                description=page.description, metadata=None,
            )  # fmt: skip
            for other in source.pages[1:]:
                tiff.write(
                    other.asarray()[:100, :120], photometric="rgb", compression="lzw",
                    description=other.description, metadata=None,
                )  # fmt: skip


def _ome(file: BytesIO, levels: Sequence[np.ndarray]) -> None:
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.48}
    options = {"tile": (64, 64), "compression": "deflate", "photometric": "rgb"}
    with tifffile.TiffWriter(file, ome=True) as tiff:
        tiff.write(levels[0], subifds=2, metadata={"axes": "YXS", **size}, **options)
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, **options)


def _pyramid(
    file: BytesIO, levels: Sequence[np.ndarray], compression: str | None, big: bool
) -> None:
    with tifffile.TiffWriter(file, bigtiff=big) as tiff:
        for index, level in enumerate(levels):
            tiff.write(
                level, tile=(128, 96), compression=compression, photometric="rgb",
                subfiletype=1 if index else 0, metadata=None,
                resolution=(2e4 / 2**index, 2e4 / 2**index), resolutionunit="CENTIMETER",
            )  # fmt: skip


def _strips(file: BytesIO, level: np.ndarray, compression: str) -> None:
    tifffile.imwrite(
        file, level, rowsperstrip=13, compression=compression, photometric="rgb", metadata=None
    )


def _pictures(pixels: np.ndarray) -> list[Original]:
    image = Image.fromarray(pixels)
    return [
        _picture("made.png", image, png_fields, sealed=True),
        _picture("palette.png", image.quantize(64), png_fields, sealed=True, transparency=0),
        _picture("made.jpg", image, codestream_fields, quality=85),
        _picture("progressive.jpeg", image, codestream_fields, progressive=True),
        _picture("made.bmp", image, bmp_fields),
    ]


def _picture(
    name: str,
    image: Image.Image,
    fields: Callable[[bytes], list[Field]],
    sealed: bool = False,
    **options: object,
) -> Original:
    file = BytesIO()
    image.save(file, {"jpg": "JPEG", "jpeg": "JPEG"}.get(name.split(".")[1], name[-3:]), **options)
    return Original(name, {name: Part(file.getvalue(), fields(file.getvalue()), sealed=sealed)})
